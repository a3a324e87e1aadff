"""Reading files of the VGG Image Annotator (VIA), versions 1 and 2: https://www.robots.ox.ac.uk/~vgg/software/via/."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from viadet.project.errors import UserError


class ViaImage(NamedTuple):
    """One annotated image."""

    file_name: str
    regions: list[Any]  # as in the file, unchecked


class BadRegionError(ValueError):
    """A region that gives no box; the text says why and follows the region's number in a message."""


def read_via(path: Path) -> list[ViaImage]:
    """Read a VIA file: exported annotations (an object or a list of images) or a whole VIA 2 project.

    Returns:
        The images, sorted by file name.

    Raises:
        UserError: the file is missing, not JSON, or not a VIA file; names the file and the image.
    """
    data = _load_json(path)
    if isinstance(data, dict) and "_via_img_metadata" in data:
        data = data["_via_img_metadata"]
    entries = list(data.values()) if isinstance(data, dict) else data
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path} is not a VIA file: expected one entry per image, each with filename and regions")
    images = [_image_of(entry, path) for entry in entries]
    for name, count in Counter(image.file_name for image in images).items():
        if count > 1:
            raise UserError(f"{path}: {name} is annotated {count} times; merge its entries into one")
    return sorted(images, key=lambda image: image.file_name)


def short_repr(value: Any) -> str:
    """Show a value of a VIA file in an error message, in at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_object_of)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}; export it again"
        ) from None
    except KeyError as error:
        raise UserError(f"{path} has the key {short_repr(error.args[0])} twice in one object; delete one") from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, or a number of thousands of digits
        raise UserError(f"{path} can't be read as UTF-8 JSON ({error}); export it again") from None


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of a JSON object; `json` itself would silently take the last value of a repeated key.

    Raises:
        KeyError: the repeated key.
    """
    data = dict(pairs)
    if len(data) < len(pairs):
        raise KeyError(next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1))
    return data


def _image_of(entry: Any, path: Path) -> ViaImage:
    if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str) or "regions" not in entry:
        raise UserError(f"{path} is not a VIA file: expected filename and regions, got {short_repr(entry)}")
    name, regions = entry["filename"], entry["regions"]
    if name in ("", ".", "..") or not name.isprintable() or any(sign in name for sign in "/\\"):
        raise UserError(
            f"{path}: filename {name!r} is not a plain file name; put the images into one folder with the VIA file"
        )
    # VIA 1 writes regions as an object with the keys "0", "1", …, VIA 2 as a list.
    regions = list(regions.values()) if isinstance(regions, dict) else regions
    if not isinstance(regions, list):
        raise UserError(f"{path}, {name}: regions is {short_repr(regions)}, expected a list or an object")
    return ViaImage(name, regions)
