"""The COCO format of annotations and results."""

from collections import defaultdict
from typing import NamedTuple

import numpy as np


class ConvertedImage(NamedTuple):
    """One image with its boxes, before ids are given."""

    image: dict  # COCO's, without id
    annotations: list[dict]  # COCO's, without ids
    skipped_regions: int = 0
    clipped_regions: int = 0
    duplicate_regions: int = 0  # left out: equal to another one
    sha256: str = ""  # of the file: equal images stay in one split

    @property
    def file_name(self) -> str:
        """Name of the file, relative to the folder of all images."""
        return self.image["file_name"]


def box_and_outline(outline: list[tuple[float, float]]) -> dict:
    """Describe an outline as COCO does: raw minima and maxima, nothing added for the width of a pixel."""
    xs, ys = zip(*outline, strict=True)
    width, height = max(xs) - min(xs), max(ys) - min(ys)
    # The box's area, not the polygon's: so small, medium and large mean what they mean in the field's reports.
    return {
        "bbox": [min(xs), min(ys), width, height],
        "area": width * height,
        "segmentation": [[value for point in outline for value in point]],
        "iscrowd": 0,
    }


def to_coco(images: list[ConvertedImage], categories: list[str]) -> dict:
    """Make a COCO data set; file names are relative to the folder of both splits.

    Ids start at 1: COCOeval takes a match with ground-truth id 0 for no match.
    """
    entries, annotations = [], []
    for image_id, image in enumerate(images, start=1):
        entries.append({"id": image_id} | image.image)
        for annotation in image.annotations:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id} | annotation)
    names = [{"id": index, "name": name} for index, name in enumerate(categories, start=1)]
    return {"images": entries, "annotations": annotations, "categories": names}


def by_image(entries: list[dict]) -> dict[int, list[dict]]:
    """Group COCO annotations or results by image id; an image without any has an empty list."""
    groups = defaultdict(list)
    for entry in entries:
        groups[entry["image_id"]].append(entry)
    return groups


def category_names(coco: dict) -> dict[int, str]:
    """Give the name of each category by its id, in their order."""
    return {category["id"]: category["name"] for category in coco["categories"]}


def boxes_xyxy_of(entries: list[dict]) -> np.ndarray:
    """Turn the `bbox` (xywh) of COCO annotations or results into boxes, float32 [N, 4]."""
    boxes_xywh = np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4)
    return np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], 1).astype(np.float32)
