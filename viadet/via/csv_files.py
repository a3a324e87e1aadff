"""Reading the CSV files of VIA 1 and 2: one row per region, with JSON in cells."""

import csv
import io
import re
import sys
from typing import Any

from viadet.project.counting import counted
from viadet.via.images import DamagedFileError, ViaImage, checked_file_name, read_all, short_repr
from viadet.via.json_files import parse_json, size_of

COLUMNS = ("filename", "file_size", "region_count", "region_shape_attributes", "region_attributes")
FILE_ATTRIBUTES = "file_attributes"  # a column that may be missing
UNDEFINED = re.compile(r'("(?:[^"\\]|\\.)*")|\bundefined\b')  # a string, or JavaScript's undefined outside of one
SEPARATOR_LINE = re.compile(r"""\s*"?sep=([;,|\t]).*(?:\r\n?|\n)""", re.IGNORECASE)

CELL_CHARS = min(sys.maxsize, 2**31 - 1)  # the default, 128 KiB, is less than a long polygon's cell


def images_of_csv(text: str) -> list[ViaImage]:
    """Give the images of a CSV file; an image without regions has one row with the region_count 0.

    Raises:
        DamagedFileError: columns are missing, or a row can't be read; names it, counted from 1.
    """
    delimiter, content = separator_and_rest(text)
    if delimiter is None:
        first_line = content.lstrip().partition("\n")[0]
        delimiter = next((sign for sign in ";\t" if sign in first_line), ",")  # spreadsheets also write these
    header, *rows = csv_rows(content, delimiter) or [[""]]
    header[0] = header[0].lstrip("#")  # as VIA 1 writes it
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise DamagedFileError(f"is not a VIA file: the first row lacks the columns {', '.join(missing)}")
    images: dict[tuple[str, str], list[Any]] = {}
    attributes: dict[tuple[str, str], dict] = {}
    places = ((f"row {number}", row) for number, row in enumerate(rows, start=2 if content == text else 3))
    for name, size, file_attributes, region in read_all(places, lambda row: _region_of(row, header)):
        images.setdefault((name, size), []).extend(region)
        attributes.setdefault((name, size), {}).update(file_attributes)
    return [
        ViaImage(name, regions, _size(size), attributes[name, size] or None) for (name, size), regions in images.items()
    ]


def separator_and_rest(text: str) -> tuple[str | None, str]:
    """Give the separator that a first line such as `sep=;` names for Excel, if there is one, and the lines below it."""
    line = SEPARATOR_LINE.match(text)
    return (line[1], text[line.end() :]) if line else (None, text)


def csv_rows(text: str, delimiter: str = ",") -> list[list[str]]:
    """Split CSV into rows of cells, without empty rows.

    Raises:
        DamagedFileError: it is not CSV.
    """
    limit = csv.field_size_limit(CELL_CHARS)  # of the whole process, which may be another program's
    try:
        rows = csv.reader(io.StringIO(text.lstrip(), newline=""), delimiter=delimiter)
        return [row for row in rows if any(row)]
    except csv.Error as error:
        raise DamagedFileError(f"can't be read as CSV ({error}); export it again") from None
    finally:
        csv.field_size_limit(limit)


def cells_of(row: list[str], header: list[str]) -> dict[str, str]:
    """Give the cells of a row by the names of their columns.

    Raises:
        DamagedFileError: there are more cells than columns, or fewer.
    """
    if len(row) != len(header):
        raise DamagedFileError(f"has {counted(len(row), 'cell')}, expected {len(header)}; export the file again")
    return dict(zip(header, row, strict=True))


def json_cell(cells: dict[str, str], column: str, kind: type[dict] | type[list]) -> Any:
    """Parse an object or a list in a cell; an empty cell is an empty one.

    VIA writes a bare `undefined` for a value that was never set; JSON files have no such keys, so they are left out.

    Raises:
        DamagedFileError: it is no JSON of this kind; names the column.
    """
    cell = cells[column].strip()
    text = UNDEFINED.sub(lambda match: match[1] or "null", cell)
    try:
        value = parse_json(text) if text not in ("", "null") else kind()
    except DamagedFileError as error:
        raise DamagedFileError(str(error), column) from None
    if not isinstance(value, kind):
        expected = "an object" if kind is dict else "a list"
        raise DamagedFileError(f"is {short_repr(value)}, expected {expected}", column)
    if kind is dict and text != cell:
        return {key: entry for key, entry in value.items() if entry is not None}
    return value


def _region_of(row: list[str], header: list[str]) -> tuple[str, str, dict, list[dict]]:
    """Give a row's file name, file size, file attributes, and region in a list, empty for an image without any."""
    if len(row) > len(header) and header[0] == "filename":  # VIA does not quote a file name with commas
        surplus = len(row) - len(header)
        row = [",".join(row[: surplus + 1]), *row[surplus + 1 :]]
    cells = cells_of(row, header)
    name = checked_file_name(cells["filename"])
    region = {
        "shape_attributes": json_cell(cells, "region_shape_attributes", dict),
        "region_attributes": json_cell(cells, "region_attributes", dict),
    }
    is_region = any(region.values()) or cells["region_count"].strip() not in ("0", "")
    attributes = json_cell(cells, FILE_ATTRIBUTES, dict) if FILE_ATTRIBUTES in header else {}
    return name, cells["file_size"].strip(), attributes, [region] if is_region else []


def _size(cell: str) -> int | None:
    try:
        return size_of(int(cell))
    except ValueError:  # "undefined"
        return None
