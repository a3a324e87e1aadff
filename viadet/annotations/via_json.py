"""Reading the JSON files of VIA 1 and 2: exported annotations and VIA 2 projects."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from viadet.annotations.via import ViaImage, checked_file_name, raise_all, short_repr
from viadet.project.errors import UserError


def load_json(text: str, path: Path) -> Any:
    """Parse the text of a JSON file.

    Raises:
        UserError: it is not JSON, or repeats a key.
    """
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        problem = f"{error.msg.removesuffix(' at')} at line {error.lineno}, column {error.colno}"
        raise UserError(f"{path} is not valid JSON: {problem}; export it again") from None
    except KeyError as error:
        raise UserError(f"{path} has the key {short_repr(error.args[0])} twice in one object; delete one") from None
    except (ValueError, RecursionError) as error:  # ValueError: a number of thousands of digits
        raise UserError(f"{path} can't be read as JSON ({error}); export it again") from None


def parse_json(text: str) -> Any:
    """Parse JSON; `json` itself would silently take the last value of a repeated key.

    Raises:
        KeyError: the repeated key.
        ValueError: it is not JSON, or holds a number of thousands of digits.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_object_of)


def is_via_json(data: Any) -> bool:
    """Tell whether a JSON file's content comes from VIA 1 or 2: a project, or an entry with filename and regions."""
    if isinstance(data, dict) and "_via_img_metadata" in data:
        return True
    entries = data.values() if isinstance(data, dict) else data if isinstance(data, list) else []
    return any(isinstance(entry, dict) and {"filename", "regions"} <= entry.keys() for entry in entries)


def images_of_json(data: Any, path: Path) -> list[ViaImage]:
    """Give the images of exported annotations (an object or a list of images) or of a VIA 2 project.

    Raises:
        UserError: the content does not come from VIA; names the file and the image.
    """
    is_project = isinstance(data, dict) and "_via_img_metadata" in data
    data = data["_via_img_metadata"] if is_project else data
    entries = list(data.values()) if isinstance(data, dict) else data
    if not isinstance(entries, list):
        raise UserError(f"{path} is not a VIA file: expected one entry per image, each with filename and regions")
    problems = [problem for entry in entries if (problem := _problem_of(entry))]
    raise_all(path, problems)
    return [
        ViaImage(checked_file_name(entry["filename"], path), _regions_of(entry), size_of(entry.get("size")))
        for entry in entries
    ]


def size_of(value: Any) -> int | None:
    """Give an image file's size in bytes; None where VIA did not know it, as for URLs."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        raise KeyError(next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1))
    return data


def _problem_of(entry: Any) -> str | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str) or "regions" not in entry:
        return f" is not a VIA file: expected filename and regions, got {short_repr(entry)}"
    if not isinstance(entry["regions"], list | dict):
        name = short_repr(entry["filename"])
        return f", {name}: regions is {short_repr(entry['regions'])}, expected a list or an object"
    return None


def _regions_of(entry: dict) -> list[Any]:
    """Give an image's regions: VIA 1 writes them as an object with the keys "0", "1", …, VIA 2 as a list."""
    regions = entry["regions"]
    return list(regions.values()) if isinstance(regions, dict) else regions
