"""Polygons in px of an image: area, the part inside the image, the pixels inside.

Arrays of numpy, as some who use them know no torch.
"""

import numpy as np
import shapely
from numpy.typing import NDArray
from pycocotools import mask as mask_tools

ON_LINE_PX = 1e-6  # distance of a computed crossing from the line that it lies on


def polygon_area(points: NDArray[np.floating]) -> float:
    """Give the area of a polygon, [points, 2], in px² by the shoelace formula."""
    return abs(_signed_area(points.astype(np.float64)))


def polygon_mask(points: NDArray[np.floating], width: int, height: int) -> NDArray[np.bool_]:
    """Mark the pixels inside a polygon, [points, 2], which may reach beyond the image; [height, width]."""
    outline = mask_tools.frPyObjects([points.astype(np.float64).ravel().tolist()], height, width)
    return mask_tools.decode(outline)[:, :, 0].astype(bool)


def clip_polygon(points: NDArray[np.float64], width: float, height: float) -> NDArray[np.float64]:
    """Clip a polygon, [points, 2], at the borders of an image.

    One that lies inside keeps its points. Moving outer points onto the border instead would bend the outline.

    Returns:
        The part inside, [points, 2] in the outline's order, without points if there is none. If the border cuts the
        polygon into several parts, they follow one another in one ring: the seams between them have no area and stay
        inside the box around the parts, so that box and area are those of what can be seen.
    """
    if (points >= 0).all() and (points <= (width, height)).all():
        return points
    # An outline that crosses itself is no polygon for `intersection`; as a valid one it may have parts, and lines.
    valid = shapely.MultiPolygon(_polygons_of(shapely.make_valid(shapely.Polygon(points))))
    parts = _polygons_of(shapely.normalize(shapely.intersection(valid, shapely.box(0, 0, width, height))))
    if not parts:
        return np.empty((0, 2))
    rings = [shapely.get_coordinates(part.exterior) for part in parts]  # closed: first and last point are the same
    if len(rings) == 1:
        return _in_order_of(points, rings[0][:-1])
    return np.concatenate([*rings, *(ring[:1] for ring in rings[-2::-1])])[:-1]


def _polygons_of(geometry: shapely.Geometry) -> list[shapely.Polygon]:
    """Give the polygons of a geometry, of a collection also those of its members."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return [part for part in parts if part.geom_type == "Polygon" and not part.is_empty]


def _in_order_of(outline: NDArray[np.float64], ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn and start a clipped ring as the outline runs, whatever order shapely's version gives."""
    if (_signed_area(outline) < 0) != (_signed_area(ring) < 0):
        ring = ring[::-1]
    line, vertices = shapely.LineString([outline[-1], *outline]), shapely.points(ring)
    places = shapely.line_locate_point(line, vertices)
    places[places == 0] = line.length  # the last point, at both ends of the line
    places[shapely.distance(line, vertices) > ON_LINE_PX] = np.inf  # corners of the image
    return np.roll(ring, -np.argmin(places), axis=0)


def _signed_area(points: NDArray[np.float64]) -> float:
    x, y = points.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
