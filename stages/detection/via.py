"""Reading annotations of the VGG Image Annotator (VIA), versions 1 and 2: https://www.robots.ox.ac.uk/~vgg/software/via/."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from stages.detection.cli import StageError

ELLIPSE_POINTS = 64
Points = list[tuple[float, float]]


class ViaImage(NamedTuple):
    """One annotated image."""

    file_name: str
    regions: list[Any]  # as they stand in the file, unchecked


class BadRegionError(ValueError):
    """A region that gives no box; the text says why."""


def read_via(path: Path) -> list[ViaImage]:
    """Read a VIA file: exported annotations (a table or a list of images) or a whole VIA 2 project.

    Returns:
        The images in the order of their file names.

    Raises:
        StageError: no such file, no JSON, or no VIA annotations.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_table_of)
    except json.JSONDecodeError as error:
        raise StageError(
            f"{path} is no complete JSON: {error.msg} at line {error.lineno}, column {error.colno}; export it again"
        ) from None
    except KeyError as error:
        raise StageError(f"{path} has {_short(error.args[0])} twice in one table; delete one of the two") from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or a number of thousands of digits
        raise StageError(f"{path} can't be read as UTF-8 JSON ({error}); export it again") from None
    if isinstance(data, dict) and "_via_img_metadata" in data:
        data = data["_via_img_metadata"]
    entries = list(data.values()) if isinstance(data, dict) else data
    if not isinstance(entries, list) or not entries:
        raise StageError(f"{path} holds no VIA annotations: expected a table of images, each with filename and regions")
    images = [_image_of(entry, path) for entry in entries]
    names = [image.file_name for image in images]
    for name, entries in Counter(names).items():
        if entries > 1:
            raise StageError(f"{path}: {name} is annotated {entries} times; merge its entries into one")
    return sorted(images, key=lambda image: image.file_name)


def _table_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a table of JSON; Python's own silently takes the last of several values.

    Raises:
        KeyError: the key that is there twice.
    """
    table = dict(pairs)
    if len(table) < len(pairs):
        raise KeyError(next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1))
    return table


def _image_of(entry: Any, path: Path) -> ViaImage:
    if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str) or "regions" not in entry:
        raise StageError(f"{path} holds no VIA annotations: expected filename and regions, got {_short(entry)}")
    name, regions = entry["filename"], entry["regions"]
    if name in ("", ".", "..") or not name.isprintable() or any(sign in name for sign in "/\\"):
        raise StageError(
            f"{path}: {name!r} is not the name of an image beside the annotations; images lie in one folder"
        )
    # VIA 1 writes regions as a table numbered "0", "1", …, VIA 2 as a list.
    regions = list(regions.values()) if isinstance(regions, dict) else regions
    if not isinstance(regions, list):
        raise StageError(f"{path}, {name}: regions are {_short(regions)}, expected a list or table")
    return ViaImage(name, regions)


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
    raise BadRegionError(f"is a {_short(name)}, which encloses nothing")


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
        raise BadRegionError(f"has {attribute} {_short(name)}, expected one of {', '.join(categories)}")
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
        raise BadRegionError(f"has {_short(value)} in {key}, expected a number of px")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
