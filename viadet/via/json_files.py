"""Reading the JSON files of VIA 1 and 2: exported annotations and VIA 2 projects."""

import json
from collections import Counter
from typing import Any

from viadet.via.images import DamagedFileError, ViaImage, checked_file_name, read_all, short_repr


def parse_json(text: str) -> Any:
    """Parse JSON; `json` itself would silently take the last value of a repeated key.

    Raises:
        DamagedFileError: it is not JSON, or repeats a key.
    """
    try:
        return json.loads(text, object_pairs_hook=_object_of)
    except json.JSONDecodeError as error:
        problem = f"{error.msg.removesuffix(' at')} at line {error.lineno}, column {error.colno}"
        raise DamagedFileError(f"is not valid JSON: {problem}; export it again") from None
    except (ValueError, RecursionError) as error:  # ValueError: a number of thousands of digits
        raise DamagedFileError(f"can't be read as JSON ({error}); export it again") from None


def images_of_json(entries: Any) -> list[ViaImage]:
    """Give the images of exported annotations or of a VIA 2 project, from an object or a list of them.

    Raises:
        DamagedFileError: an image is not as VIA writes it; names it by its number, counted from 1.
    """
    entries = list(entries.values()) if isinstance(entries, dict) else entries
    if not isinstance(entries, list):
        raise DamagedFileError("is not a VIA file: expected one entry per image, each with filename and regions")
    places = ((f"image {number}", entry) for number, entry in enumerate(entries, start=1))
    return read_all(places, _image_of)


def size_of(value: Any) -> int | None:
    """Give an image file's size in bytes; None where VIA did not know it, as for URLs."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise DamagedFileError(f"has the key {short_repr(repeated)} twice in one object; delete one")
    return data


def _image_of(entry: Any) -> ViaImage:
    """Read an image; its regions are an object with the keys "0", "1", … in VIA 1, and a list in VIA 2."""
    if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str) or "regions" not in entry:
        raise DamagedFileError(f"is {short_repr(entry)}, expected filename and regions")
    name, regions = checked_file_name(entry["filename"]), entry["regions"]
    if not isinstance(regions, list | dict):
        raise DamagedFileError(f"has {short_repr(regions)} in regions, expected a list or an object", short_repr(name))
    regions = list(regions.values()) if isinstance(regions, dict) else regions
    return ViaImage(name, regions, size_of(entry.get("size")), entry.get("file_attributes") or None)
