"""What was detected in many images, in COCO's format and as tables."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viadet.detection.detections import Detections
from viadet.project.files import replaced_file


@dataclass(frozen=True)
class ImageRecord:
    """What was detected in one image."""

    file_name: str  # relative to the folder of all images
    bytes: int  # of the file
    size_wh: tuple[int, int]  # px of the upright image
    detections: Detections  # of at least the score threshold
    unsureness: float  # of all detections


def unsureness(scores: Iterable[float]) -> float:
    """Measure how unsure a detector is about an image, from the scores of all its detections; 0: not at all.

    The 1-vs-2 margin of each detection, squared, and their sum: `sum((1 - |p1 - p2|) ** 2)` of Brust, Käding and
    Denzler, "Active learning for deep object detection" (VISAPP 2019), who found the sum better than mean and maximum.
    The network's scores are sigmoids, one for each class, so the two classes are the object and the background: `p1`
    is the score, `p2` is `1 - p1`. A detection at 0.5 counts 1, one at 0.05 or 0.95 counts 0.01.
    """
    return sum((1 - abs(2 * score - 1)) ** 2 for score in scores)


def coco_images(records: Sequence[ImageRecord], categories: Sequence[str]) -> dict:
    """Make the data set without annotations that names the images of `coco_results`."""
    images = []
    for image_id, record in enumerate(records, start=1):
        width, height = record.size_wh
        images.append({"id": image_id, "file_name": record.file_name, "width": width, "height": height})
    names = [{"id": label, "name": name} for label, name in enumerate(categories, start=1)]
    return {"annotations": [], "categories": names, "images": images}


def coco_results(records: Sequence[ImageRecord]) -> list[dict]:
    """List all detections in COCO's results format."""
    return [row for image_id, record in enumerate(records, start=1) for row in record.detections.coco_rows(image_id)]


def write_detections_csv(path: Path, records: Sequence[ImageRecord]) -> None:
    """Write a row for each detection, the box's corners in px of the upright image."""
    rows: list[list[Any]] = [["file_name", "category", "score", "x0", "y0", "x1", "y1"]]
    for record in records:
        for category, result in zip(record.detections.names, record.detections.rows(), strict=True):
            x, y, width, height = result["bbox"]
            corners = [round(value, 2) for value in (x, y, x + width, y + height)]
            rows.append([record.file_name, category, result["score"], *corners])
    write_rows(path, rows)


def write_unsure_csv(path: Path, records: Sequence[ImageRecord]) -> None:
    """Write the images with their unsureness."""
    write_rows(path, [["file_name", "unsureness"], *([r.file_name, format(r.unsureness, ".6g")] for r in records)])


def write_rows(path: Path, rows: Iterable[Sequence]) -> None:
    """Write a table as CSV."""
    # file names may have bytes that are not UTF-8
    with replaced_file(path) as new, new.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
