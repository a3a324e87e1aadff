"""The shapes of VIA regions as polygons: polygon, rectangle, circle, ellipse.

Outlines are lists of points (x, y) in px of the upright image.
"""

import math
from typing import Any

from viadet.annotations.via import BadRegionError, short_repr

ELLIPSE_POINTS = 64
MAX_PX = 1e9  # beyond any image; larger numbers would overflow further on
Points = list[tuple[float, float]]


def outline_of(region: Any) -> Points:
    """Turn a region's shape into a polygon.

    Raises:
        BadRegionError: the shape has no area or a value that is not a number.
    """
    shape = region.get("shape_attributes") if isinstance(region, dict) else None
    if not isinstance(shape, dict):
        raise BadRegionError("has no shape_attributes")
    match shape.get("name"):
        case "polygon":
            return polygon_outline(shape)
        case "rect":
            return rectangle_outline(shape)
        case "circle":
            return circle_outline(shape)
        case "ellipse":
            return ellipse_outline(shape)
        case name:
            raise BadRegionError(f"is a {short_repr(name)}, which has no area")


def polygon_outline(shape: dict) -> Points:
    """Read a VIA polygon.

    Raises:
        BadRegionError: it has fewer than 3 points, or a coordinate is missing or not a number.
    """
    xs, ys = _numbers(shape, "all_points_x"), _numbers(shape, "all_points_y")
    if len(xs) != len(ys):
        raise BadRegionError(f"has {len(xs)} x and {len(ys)} y coordinates")
    if len(xs) < 3:
        raise BadRegionError(f"is a polygon of {len(xs)} points, expected at least 3")
    return list(zip(xs, ys, strict=True))


def rectangle_outline(shape: dict) -> Points:
    """Give the four corners of a VIA rect.

    Raises:
        BadRegionError: a value is missing or not a number, or a side is not above 0 px.
    """
    x, y = _number(shape, "x"), _number(shape, "y")
    width, height = _length(shape, "width"), _length(shape, "height")
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def circle_outline(shape: dict) -> Points:
    """Approximate a VIA circle by a polygon with the same box.

    Raises:
        BadRegionError: a value is missing or not a number, or the radius is not above 0 px.
    """
    radius = _length(shape, "r")
    return _ellipse_points(_number(shape, "cx"), _number(shape, "cy"), radius, radius, 0.0)


def ellipse_outline(shape: dict) -> Points:
    """Approximate a VIA ellipse, turned by theta rad, by a polygon with the same box.

    Raises:
        BadRegionError: a value is missing (theta may be) or not a number, or a radius is not above 0 px.
    """
    theta = _number(shape, "theta") if "theta" in shape else 0.0
    centre = _number(shape, "cx"), _number(shape, "cy")
    return _ellipse_points(*centre, _length(shape, "rx"), _length(shape, "ry"), theta)


def clip_outline(outline: Points, width: int, height: int) -> Points:
    """Move points outside of the image to its edge.

    Raises:
        BadRegionError: the box has no area inside the image.
    """
    clipped = [(min(max(x, 0), width), min(max(y, 0), height)) for x, y in outline]
    xs, ys = zip(*clipped, strict=True)
    if max(xs) == min(xs) or max(ys) == min(ys):
        raise BadRegionError(f"has no area inside the image of {width} x {height} px")
    return clipped


def _ellipse_points(cx: float, cy: float, rx: float, ry: float, theta: float) -> Points:
    # The outermost points of a turned ellipse lie between regularly spaced ones: add them, so that the box is exact.
    angles = [2 * math.pi * step / ELLIPSE_POINTS for step in range(ELLIPSE_POINTS)]
    sine, cosine = math.sin(theta), math.cos(theta)
    outermost = (math.atan2(-ry * sine, rx * cosine), math.atan2(ry * cosine, rx * sine))
    angles = sorted({*angles, *(a % (2 * math.pi) for o in outermost for a in (o, o + math.pi))})
    return [
        (
            cx + rx * math.cos(angle) * cosine - ry * math.sin(angle) * sine,
            cy + rx * math.cos(angle) * sine + ry * math.sin(angle) * cosine,
        )
        for angle in angles
    ]


def _numbers(shape: dict, key: str) -> list[float]:
    values = shape.get(key)
    if not isinstance(values, list):
        raise BadRegionError(f"has {short_repr(values)} in {key}, expected a list of numbers")
    return [_checked_number(value, key) for value in values]


def _number(shape: dict, key: str) -> float:
    return _checked_number(shape.get(key), key)


def _length(shape: dict, key: str) -> float:
    value = _number(shape, key)
    if value <= 0:
        raise BadRegionError(f"has {value} in {key}, expected more than 0 px")
    return value


def _checked_number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MAX_PX:
        raise BadRegionError(f"has {short_repr(value)} in {key}, expected a number")
    return value
