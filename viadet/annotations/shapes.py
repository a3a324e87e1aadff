"""The shapes of VIA regions as polygons, and their categories."""

import math
from typing import Any

from viadet.annotations.via import shortened

ELLIPSE_POINTS = 64
Points = list[tuple[float, float]]


class BadRegionError(ValueError):
    """A region that gives no box; the text says why."""


def outline_of(region: Any) -> Points:
    """Turn a region's shape into a polygon, in px of the upright image.

    Rectangles become four points; circles and ellipses become points that include the outermost ones.

    Raises:
        BadRegionError: the shape encloses nothing or is not given in numbers.
    """
    shape = region.get("shape_attributes") if isinstance(region, dict) else None
    if not isinstance(shape, dict):
        raise BadRegionError("has no shape_attributes")
    name = shape.get("name")
    if name == "polygon":
        xs, ys = _numbers(shape, "all_points_x"), _numbers(shape, "all_points_y")
        if len(xs) != len(ys):
            raise BadRegionError(f"has {len(xs)} x and {len(ys)} y coordinates")
        if len(xs) < 3:
            raise BadRegionError(f"is a polygon of {len(xs)} points, at least 3 are needed")
        return list(zip(xs, ys, strict=True))
    if name == "rect":
        x, y = _number(shape, "x"), _number(shape, "y")
        width, height = _size(shape, "width"), _size(shape, "height")
        return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    if name == "circle":
        radius = _size(shape, "r")
        return _ellipse(_number(shape, "cx"), _number(shape, "cy"), radius, radius, 0.0)
    if name == "ellipse":
        theta = _number(shape, "theta") if "theta" in shape else 0.0
        centre = _number(shape, "cx"), _number(shape, "cy")
        return _ellipse(*centre, _size(shape, "rx"), _size(shape, "ry"), theta)
    raise BadRegionError(f"is a {shortened(name)}, which encloses nothing")


def clip_outline(outline: Points, width: int, height: int) -> Points:
    """Move points outside of the image to its edge.

    Raises:
        BadRegionError: nothing of the box is left within the image.
    """
    clipped = [(min(max(x, 0), width), min(max(y, 0), height)) for x, y in outline]
    xs, ys = zip(*clipped, strict=True)
    if max(xs) == min(xs) or max(ys) == min(ys):
        raise BadRegionError(f"encloses nothing within the image of {width} x {height} px")
    return clipped


def category_of(region: dict, attribute: str | None, categories: list[str]) -> int:
    """Give the region's category id, from 1.

    Raises:
        BadRegionError: its attribute names none of the categories.
    """
    if attribute is None:
        return 1
    attributes = region.get("region_attributes")
    name = attributes.get(attribute) if isinstance(attributes, dict) else None
    if name not in categories:
        raise BadRegionError(f"has {attribute} {shortened(name)}, expected one of {', '.join(categories)}")
    return categories.index(name) + 1


def _ellipse(cx: float, cy: float, rx: float, ry: float, theta: float) -> Points:
    # The turned ellipse's outermost points lie between those of a regular sampling: add them, so that the box is exact.
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
        raise BadRegionError(f"has no list {key}")
    return [_checked(value, key) for value in values]


def _number(shape: dict, key: str) -> float:
    return _checked(shape.get(key), key)


def _size(shape: dict, key: str) -> float:
    value = _number(shape, key)
    if value <= 0:
        raise BadRegionError(f"has {value} in {key}, expected more than 0 px")
    return value


def _checked(value: Any, key: str) -> float:
    # 1e9 px is beyond any image; such numbers would overflow further on.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
        raise BadRegionError(f"has {shortened(value)} in {key}, expected a number of px")
    return value
