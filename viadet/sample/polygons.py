"""The area of a polygon, and clipping it at the borders of an image."""

import numpy as np
from numpy.typing import NDArray


def polygon_area(points: NDArray[np.float64]) -> float:
    """Give the area of a polygon, [points, 2], by the shoelace formula."""
    x, y = points.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def clip_polygon(points: NDArray[np.float64], width: float, height: float) -> NDArray[np.float64]:
    """Clip a polygon, [points, 2], at the borders of an image (Sutherland and Hodgman, 1974).

    Moving outer points onto the border instead would stretch the box along it.
    """
    for axis, sign, limit in ((0, -1, 0), (0, 1, width), (1, -1, 0), (1, 1, height)):
        kept = []
        inside = sign * points[:, axis] <= sign * limit
        for k, point in enumerate(points):
            previous = points[k - 1]
            if inside[k] != inside[k - 1]:
                share = (limit - previous[axis]) / (point[axis] - previous[axis])
                kept.append(previous + share * (point - previous))
            if inside[k]:
                kept.append(point)
        points = np.array(kept).reshape(-1, 2)
    return points
