"""Reading the CSV files of VIA 1 and 2: one row per region, with JSON in cells."""

import csv
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

from viadet.annotations.via import ViaImage, checked_file_name, read_all, short_repr
from viadet.annotations.via_json import parse_json, size_of
from viadet.project.counting import counted
from viadet.project.errors import UserError

COLUMNS = ("filename", "file_size", "region_count", "region_shape_attributes", "region_attributes")
UNDEFINED = re.compile(r'("(?:[^"\\]|\\.)*")|\bundefined\b')  # a string, or JavaScript's undefined outside of one

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the default, 128 KiB, is less than a long polygon's cell


def is_via_csv(text: str) -> bool:
    """Tell whether a CSV file's first line is the header of VIA 1 or 2."""
    return "region_shape_attributes" in text.lstrip().partition("\n")[0]


def images_of_csv(text: str, path: Path) -> list[ViaImage]:
    """Give the images of a CSV file; an image without regions has one row with the region_count 0.

    Raises:
        UserError: names the file and the row, counted from 1.
    """
    header, *rows = csv_rows(text, path, delimiter_of(text)) or [[""]]
    header[0] = header[0].lstrip("#")  # as VIA 1 writes it
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise UserError(f"{path} is not a VIA file: the first row lacks the columns {', '.join(missing)}")
    images: dict[tuple[str, str], list[Any]] = {}
    places = ((f"row {number}", row) for number, row in enumerate(rows, start=2))
    for name, size, region in read_all(path, places, lambda row: _region_of(row, header)):
        images.setdefault((name, size), []).extend(region)
    return [ViaImage(checked_file_name(name, path), regions, _size(size)) for (name, size), regions in images.items()]


def delimiter_of(text: str) -> str:
    """Find the sign between the first two columns' names: spreadsheets also write semicolons and tabs."""
    header = text.lstrip().partition("\n")[0]
    return next((sign for sign in ";\t" if sign in header), ",")


def csv_rows(text: str, path: Path, delimiter: str = ",") -> list[list[str]]:
    """Split CSV into rows of cells, without empty rows.

    Raises:
        UserError: it is not CSV.
    """
    try:
        rows = csv.reader(io.StringIO(text.lstrip(), newline=""), delimiter=delimiter)
        return [row for row in rows if any(row)]
    except csv.Error as error:
        raise UserError(f"{path} can't be read as CSV ({error}); export it again") from None


def json_cell(cell: str, column: str, kind: type[dict] | type[list]) -> Any:
    """Parse an object or a list in a cell; an empty cell is an empty one.

    VIA writes a bare `undefined` for a value that was never set; JSON files have no such keys, so they are left out.

    Raises:
        ValueError: it is no JSON of this kind; the text follows the row's number.
    """
    text = UNDEFINED.sub(lambda match: match[1] or "null", cell.strip())
    try:
        value = parse_json(text) if text not in ("", "null") else kind()
    except json.JSONDecodeError as error:
        problem = f"has {short_repr(cell)} in {column}, which is not valid JSON ({error.msg})"
        raise ValueError(f"{problem}; export the file again") from None
    except KeyError as error:
        raise ValueError(f"has the key {short_repr(error.args[0])} twice in {column}; delete one") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"has JSON in {column} that can't be read ({error}); export the file again") from None
    if not isinstance(value, kind):
        raise ValueError(f"has {short_repr(value)} in {column}, expected {'an object' if kind is dict else 'a list'}")
    if kind is dict and text != cell.strip():
        return {key: entry for key, entry in value.items() if entry is not None}
    return value


def _region_of(row: list[str], header: list[str]) -> tuple[str, str, list[dict]]:
    """Give a row's file name, file size, and region in a list, which is empty for an image without regions.

    Raises:
        ValueError: the text follows the row's number.
    """
    if len(row) > len(header) and header[0] == "filename":  # VIA does not quote a file name with commas
        surplus = len(row) - len(header)
        row = [",".join(row[: surplus + 1]), *row[surplus + 1 :]]
    if len(row) != len(header):
        raise ValueError(f"has {counted(len(row), 'cell')}, expected {len(header)}; export the file again")
    cells = dict(zip(header, row, strict=True))
    if not cells["filename"].strip():
        raise ValueError("has no file name; export the file again")
    keys = {"shape_attributes": "region_shape_attributes", "region_attributes": "region_attributes"}
    region = {key: json_cell(cells[column], column, dict) for key, column in keys.items()}
    is_region = any(region.values()) or cells["region_count"].strip() not in ("0", "")
    return cells["filename"], cells["file_size"].strip(), [region] if is_region else []


def _size(cell: str) -> int | None:
    try:
        return size_of(int(cell))
    except ValueError:  # "undefined"
        return None
