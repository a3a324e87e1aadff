"""Reading annotations of the VGG Image Annotator (VIA), versions 1 and 2: https://www.robots.ox.ac.uk/~vgg/software/via/."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from viadet.project.errors import UserError


class ViaImage(NamedTuple):
    """One annotated image."""

    file_name: str
    regions: list[Any]  # as they stand in the file, unchecked


def read_via(path: Path) -> list[ViaImage]:
    """Read a VIA file: exported annotations (a table or a list of images) or a whole VIA 2 project.

    Returns:
        The images in the order of their file names.

    Raises:
        UserError: no such file, no JSON, or no VIA annotations.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_table_of)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is no complete JSON: {error.msg} at line {error.lineno}, column {error.colno}; export it again"
        ) from None
    except KeyError as error:
        raise UserError(f"{path} has {shortened(error.args[0])} twice in one table; delete one of the two") from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or a number of thousands of digits
        raise UserError(f"{path} can't be read as UTF-8 JSON ({error}); export it again") from None
    if isinstance(data, dict) and "_via_img_metadata" in data:
        data = data["_via_img_metadata"]
    entries = list(data.values()) if isinstance(data, dict) else data
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path} holds no VIA annotations: expected a table of images, each with filename and regions")
    images = [_image_of(entry, path) for entry in entries]
    names = [image.file_name for image in images]
    for name, entries in Counter(names).items():
        if entries > 1:
            raise UserError(f"{path}: {name} is annotated {entries} times; merge its entries into one")
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
        raise UserError(f"{path} holds no VIA annotations: expected filename and regions, got {shortened(entry)}")
    name, regions = entry["filename"], entry["regions"]
    if name in ("", ".", "..") or not name.isprintable() or any(sign in name for sign in "/\\"):
        raise UserError(
            f"{path}: {name!r} is not the name of an image beside the annotations; images lie in one folder"
        )
    # VIA 1 writes regions as a table numbered "0", "1", …, VIA 2 as a list.
    regions = list(regions.values()) if isinstance(regions, dict) else regions
    if not isinstance(regions, list):
        raise UserError(f"{path}, {name}: regions are {shortened(regions)}, expected a list or table")
    return ViaImage(name, regions)


def shortened(value: Any) -> str:
    """Show a value of a VIA file in an error message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
