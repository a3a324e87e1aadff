"""Detections of many images in a temporary file, and the tables written from it; memory does not grow with them."""

import csv
import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO, TypedDict

from viadet.project.files import replaced_file

CSV_COLUMNS = ("file_name", "category", "score", "x0", "y0", "x1", "y1")  # the box in px of the upright image


class ImageRecord(TypedDict):
    """What was detected in one image."""

    file_name: str  # relative to the folder of all images
    bytes: int  # of the file
    width: int  # px of the upright image
    height: int
    unsureness: float  # of all detections, as `unsureness` gives it
    results: list[dict]  # as in COCO's format, without image_id; of at least the score threshold


class Records:
    """Records of images, appended to a nameless temporary file; numbered from 0."""

    def __init__(self, folder: Path) -> None:
        """Open the file.

        Args:
            folder: that has room for it.
        """
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._offsets: list[int] = []

    def __enter__(self) -> Self:
        """Keep the file open for the block."""
        return self

    def __exit__(self, _: type | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """Close and so delete the file."""
        self._file.close()

    def __len__(self) -> int:
        """Count the images."""
        return len(self._offsets)

    def add(self, record: ImageRecord) -> None:
        """Append a record in one write."""
        self._file.seek(0, 2)
        self._offsets.append(self._file.tell())
        self._file.write(json.dumps(record).encode() + b"\n")

    def read(self, numbers: Iterable[int] | None = None) -> Iterator[ImageRecord]:
        """Read the records of these numbers, in their order; None: all."""
        for number in range(len(self)) if numbers is None else numbers:
            self._file.seek(self._offsets[number])
            yield json.loads(self._file.readline())


def write_coco(folder: Path, records: Records, categories: list[str]) -> None:
    """Write the detections in COCO's results format, and a data set without annotations that names their images.

    In pycocotools: `COCO("coco_images.json").loadRes("coco_results.json")`.
    """
    names = [{"id": label, "name": name} for label, name in enumerate(categories, start=1)]
    images = (
        {"id": image_id} | {key: record[key] for key in ("file_name", "width", "height")}
        for image_id, record in enumerate(records.read(), start=1)
    )
    results = (
        {"image_id": image_id} | result
        for image_id, record in enumerate(records.read(), start=1)
        for result in record["results"]
    )
    with replaced_file(folder / "coco_images.json") as temporary, _opened(temporary) as file:
        file.write(f'{{"annotations": [], "categories": {json.dumps(names)}, "images": [')
        write_rows(file, map(json.dumps, images))
        file.write("]}\n")
    with replaced_file(folder / "coco_results.json") as temporary, _opened(temporary) as file:
        file.write("[")
        write_rows(file, map(json.dumps, results))
        file.write("]\n")


def write_detections_csv(path: Path, records: Records, categories: list[str]) -> None:
    """Write a row for each detection."""
    with replaced_file(path) as temporary, _opened(temporary) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for record in records.read():
            for result in record["results"]:
                x, y, width, height = result["bbox"]
                corners = (round(value, 2) for value in (x, y, x + width, y + height))
                writer.writerow([record["file_name"], categories[result["category_id"] - 1], result["score"], *corners])


def write_unsure_csv(path: Path, records: Records, numbers: list[int]) -> None:
    """Write the images of these numbers with their unsureness."""
    with replaced_file(path) as temporary, _opened(temporary) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file_name", "unsureness"))
        writer.writerows((record["file_name"], format(record["unsureness"], ".6g")) for record in records.read(numbers))


def write_rows(file: TextIO, rows: Iterable[str]) -> None:
    """Write the items of a JSON array or object, each in a line."""
    separator = "\n"
    for row in rows:
        file.write(separator + row)
        separator = ",\n"


def _opened(path: Path) -> TextIO:
    # file names may have bytes that are not UTF-8
    return path.open("w", newline="", encoding="utf-8", errors="surrogateescape")
