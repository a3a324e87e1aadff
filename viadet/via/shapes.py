"""The shapes of VIA regions as polygons: polygon, polyline, rectangle, circle, ellipse.

Outlines are lists of points (x, y) in px of the upright image. All functions raise UnusableError where a value is
missing or not a number, or the shape has no area.
"""

import math
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from viadet.images.polygons import clip_polygon
from viadet.project.counting import counted
from viadet.via.images import UnusableError, short_repr

ELLIPSE_POINTS = 64
MAX_PX = 1e9  # beyond any image; larger numbers would overflow further on
MAX_GAP = 0.05  # between the ends of a nearly closed polyline, as a share of its length
Points = list[tuple[float, float]]
Polyline = Literal["nearly_closed", "always", "never"]  # which polylines are outlines: those up to MAX_GAP, all, none


def outline_of(region: Any, polyline: Polyline = "nearly_closed") -> Points:
    """Turn the shape of a region, as in VIA 2 or a shape of VIA 3, into a polygon.

    Raises:
        UnusableError: the shape has no area or a value that is not a number.
    """
    shape = region.get("shape_attributes") if isinstance(region, dict) else None
    if not isinstance(shape, dict):
        raise UnusableError("has no shape_attributes", "no shape")
    match shape.get("name"):
        case "polygon":
            return _polygon_outline(shape)
        case "polyline":
            return _polyline_outline(shape, polyline)
        case "rect":
            return _rectangle_outline(shape)
        case "circle":
            return _circle_outline(shape)
        case "ellipse":
            return _ellipse_outline(shape)
        case "extreme_rectangle":
            return _extreme_rectangle_outline(shape)
        case "extreme_circle":
            return _extreme_circle_outline(shape)
        case ("point" | "line") as name:
            raise UnusableError(f"is a {name}, which has no area", name, "points" if name == "point" else "bad_regions")
        case None:
            raise UnusableError("has no shape", "no shape")
        case name:
            raise UnusableError(f"is a {short_repr(name)}, which is not a shape of VIA", "unknown shape")


def clip_outline(outline: Points, width: int, height: int) -> Points:
    """Clip an outline at the borders of an image; one that lies inside keeps its points.

    Raises:
        UnusableError: nothing with an area is left.
    """
    if all(0 <= x <= width and 0 <= y <= height for x, y in outline):
        clipped = outline
    else:
        points = clip_polygon(np.array(outline, np.float64), width, height)
        # Where rounding has left a point beyond the border by less than any pixel.
        clipped = [(x, y) for x, y in np.clip(points, 0, [width, height]).tolist()]
    xs, ys = zip(*clipped, strict=True) if clipped else ((0,), (0,))
    if max(xs) == min(xs) or max(ys) == min(ys):
        reason = "outside the image" if not clipped else "no area"
        raise UnusableError(f"has no area inside the image of {width} x {height} px", reason)
    return clipped


def _polygon_outline(shape: dict) -> Points:
    points = _points(shape)
    if len(points) < 3:
        found = counted(len(points), "point")
        raise UnusableError(f"is a {shape['name']} of {found}, expected at least 3", "too few points")
    return points


def _polyline_outline(shape: dict, polyline: Polyline) -> Points:
    if polyline == "never":
        raise UnusableError("is a polyline, which has no area", "polyline")
    points = _polygon_outline(shape)
    length = sum(math.dist(*ends) for ends in pairwise(points))
    gap = math.dist(points[0], points[-1])
    if polyline == "nearly_closed" and gap > MAX_GAP * length:
        advice = "convert.polyline: always would close it"
        raise UnusableError(f"is an open polyline, its ends are {gap:.0f} px apart ({advice})", "open polyline")
    return points


def _rectangle_outline(shape: dict) -> Points:
    x, y = _number(shape, "x"), _number(shape, "y")
    width, height = _length(shape, "width"), _length(shape, "height")
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def _circle_outline(shape: dict) -> Points:
    radius = _length(shape, "r")
    return _ellipse_points(_number(shape, "cx"), _number(shape, "cy"), radius, radius, 0.0)


def _ellipse_outline(shape: dict) -> Points:
    """Read an ellipse, turned by theta rad; only VIA 2 has that."""
    theta = _number(shape, "theta") if "theta" in shape else 0.0
    centre = _number(shape, "cx"), _number(shape, "cy")
    return _ellipse_points(*centre, _length(shape, "rx"), _length(shape, "ry"), theta)


def _extreme_rectangle_outline(shape: dict) -> Points:
    """Give the corners of the box around the extreme points of a VIA 3 rectangle."""
    xs, ys = zip(*_polygon_outline(shape), strict=True)
    box = {"x": min(xs), "y": min(ys), "width": max(xs) - min(xs), "height": max(ys) - min(ys)}
    return _rectangle_outline(box)


def _extreme_circle_outline(shape: dict) -> Points:
    """Approximate the circle through the three points that VIA 3 stores."""
    points = _points(shape)
    if len(points) != 3:
        raise UnusableError(f"is a circle through {counted(len(points), 'point')}, expected 3", "too few points")
    (x, y), *others = points
    (x1, y1), (x2, y2) = ((other_x - x, other_y - y) for other_x, other_y in others)
    twice_area = 2 * (x1 * y2 - x2 * y1)
    if twice_area == 0:
        raise UnusableError("is a circle through 3 points on one line", "no area")
    square1, square2 = x1**2 + y1**2, x2**2 + y2**2
    dx, dy = (y2 * square1 - y1 * square2) / twice_area, (x1 * square2 - x2 * square1) / twice_area
    return _circle_outline({"cx": x + dx, "cy": y + dy, "r": math.hypot(dx, dy)})


def _ellipse_points(cx: float, cy: float, rx: float, ry: float, theta: float) -> Points:
    """Approximate an ellipse, turned by theta rad, by a polygon with the same box."""
    # The outermost points of a turned ellipse lie between regularly spaced ones: add them, so that the box is exact.
    angles = [2 * math.pi * step / ELLIPSE_POINTS for step in range(ELLIPSE_POINTS)]
    sine, cosine = math.sin(theta), math.cos(theta)
    outermost = (math.atan2(-ry * sine, rx * cosine), math.atan2(ry * cosine, rx * sine))
    angles = sorted({*angles, *(a % (2 * math.pi) for o in outermost for a in (o, o + math.pi))})
    points = []
    for angle in angles:
        x, y = rx * math.cos(angle), ry * math.sin(angle)
        points.append((cx + x * cosine - y * sine, cy + x * sine + y * cosine))
    return points


def _points(shape: dict) -> Points:
    xs, ys = _numbers(shape, "all_points_x"), _numbers(shape, "all_points_y")
    if len(xs) != len(ys):
        raise UnusableError(f"has {len(xs)} x and {len(ys)} y coordinates", "bad number")
    return list(zip(xs, ys, strict=True))


def _numbers(shape: dict, key: str) -> list[float]:
    values = shape.get(key)
    if not isinstance(values, list):
        raise UnusableError(f"has {short_repr(values)} in {key}, expected a list of numbers", "bad number")
    return [_checked_number(value, key) for value in values]


def _number(shape: dict, key: str) -> float:
    return _checked_number(shape.get(key), key)


def _length(shape: dict, key: str) -> float:
    value = _number(shape, key)
    if value <= 0:
        raise UnusableError(f"has {value} in {key}, expected more than 0 px", "no area")
    return value


def _checked_number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnusableError(f"has {short_repr(value)} in {key}, expected a number", "bad number")
    if not abs(value) < MAX_PX:  # also NaN
        raise UnusableError(f"has {short_repr(value)} in {key}, which is beyond any image", "bad number")
    return value
