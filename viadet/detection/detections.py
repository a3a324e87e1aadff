"""What was detected in one image: the one form of it, from the network's outputs to files and pictures."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viadet.annotations.coco import boxes_xyxy_of, by_image
from viadet.project.files import read_json, replaced_file

BOX_DECIMALS = 2  # of px, in files
SCORE_DECIMALS = 5
SMALLEST_SIDE_PX = 0.01  # in files: rounded, a box in an image of very few px would have no area


@dataclass(frozen=True, eq=False)
class Detections:
    """Detections of one image, best first.

    In supervision: `sv.Detections(xyxy=d.boxes_xyxy, confidence=d.scores, class_id=d.labels)`.
    """

    boxes_xyxy: NDArray[np.float32]  # [N, 4], px of the upright image
    scores: NDArray[np.float32]  # [N], 0..1
    labels: NDArray[np.int64]  # [N], from 1: the first of the categories
    categories: tuple[str, ...] = ()
    anchors: NDArray[np.int64] | None = None  # [N], index into all anchors, P3's first; None: of merged views
    levels: NDArray[np.int64] | None = None  # [N], index into the network's levels, P3 is 0

    def __post_init__(self) -> None:
        """Check shapes, types and order.

        Raises:
            ValueError: names what does not fit.
        """
        count = len(self.scores)
        expected = {
            "boxes_xyxy": (np.float32, (count, 4)),
            "scores": (np.float32, (count,)),
            "labels": (np.int64, (count,)),
            "anchors": (np.int64, (count,)),
            "levels": (np.int64, (count,)),
        }
        for name, (dtype, shape) in expected.items():
            values = getattr(self, name)
            if values is None and name in ("anchors", "levels"):
                continue
            if values.dtype != dtype or values.shape != shape:
                raise ValueError(f"{name} is {values.dtype} {values.shape}, expected {np.dtype(dtype)} {shape}")
        if (np.diff(self.scores) > 0).any():
            raise ValueError("scores are not in descending order")

    def __len__(self) -> int:
        """Count the detections."""
        return len(self.scores)

    def __getitem__(self, rows: slice | NDArray[Any]) -> "Detections":
        """Choose some of the detections, by a slice, a mask or indices."""
        return Detections(
            self.boxes_xyxy[rows],
            self.scores[rows],
            self.labels[rows],
            self.categories,
            None if self.anchors is None else self.anchors[rows],
            None if self.levels is None else self.levels[rows],
        )

    def above(self, score: float) -> "Detections":
        """Keep those of at least this score."""
        return self[self.scores >= score]

    def best(self, count: int | None) -> "Detections":
        """Keep at most so many, the best ones; None: all."""
        return self[:count]

    @property
    def names(self) -> list[str]:
        """The category of each detection."""
        return [self.categories[label - 1] for label in self.labels]

    def rounded(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give boxes [N, 4] as xywh in px, and scores [N], as files have them."""
        boxes_xyxy = self.boxes_xyxy.astype(np.float64)
        sides_wh = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clip(SMALLEST_SIDE_PX)
        boxes_xywh = np.concatenate([boxes_xyxy[:, :2], sides_wh], axis=1)
        # not numpy's `round`, which is off by one digit for some numbers
        boxes_xywh = [[round(value, BOX_DECIMALS) for value in box_xywh] for box_xywh in boxes_xywh.tolist()]
        scores = [round(score, SCORE_DECIMALS) for score in self.scores.tolist()]
        return np.array(boxes_xywh, np.float64).reshape(-1, 4), np.array(scores, np.float64)

    def rows(self) -> list[dict]:
        """Write them as `coco_rows` does, without an image's id."""
        boxes_xywh, scores = self.rounded()
        columns = zip(self.labels.tolist(), boxes_xywh.tolist(), scores.tolist(), strict=True)
        return [{"category_id": label, "bbox": box_xywh, "score": score} for label, box_xywh, score in columns]

    def coco_rows(self, image_id: int) -> list[dict]:
        """Write them in COCO's results format: xywh boxes in px of the image, numbers rounded."""
        return [{"image_id": image_id} | row for row in self.rows()]

    @classmethod
    def none(cls) -> "Detections":
        """Those of an image in which nothing was detected."""
        return cls.from_rows([])

    @classmethod
    def from_rows(cls, rows: Iterable[dict]) -> "Detections":
        """Read the detections of one image in COCO's results format, best first or not."""
        rows = sorted(rows, key=lambda row: -row["score"])
        return cls(
            boxes_xyxy_of(rows),
            np.array([row["score"] for row in rows], np.float32),
            np.array([row["category_id"] for row in rows], np.int64),
        )


def write_detections(path: Path, detections: Mapping[int, Detections]) -> None:
    """Write the detections by image id in COCO's results format, one a line and one at a time."""
    with replaced_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write("[")
        separator = "\n"
        for image_id, image_detections in detections.items():
            for row in image_detections.coco_rows(image_id):
                file.write(separator)
                json.dump(row, file, sort_keys=True, allow_nan=False)
                separator = ",\n"
        file.write("\n]\n")


def read_detections(path: Path) -> dict[int, Detections]:
    """Read what `write_detections` wrote; images without any are left out.

    Raises:
        UserError: the file is missing or not JSON.
    """
    return {image_id: Detections.from_rows(rows) for image_id, rows in by_image(read_json(path)).items()}
