"""One table of matches: each detection of an evaluation with what it hits at each IoU; what is counted from it."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MATCH_IOU = 0.5  # IoU from which a detection is a true positive in precision, recall and F1
IOUS = np.linspace(0.5, 0.95, 10)  # COCO's


ROW = np.dtype(  # of the table
    [
        ("image", np.int32),  # index into `image_ids`
        ("rank", np.int32),  # the detection's place among those of its image
        ("category", np.int32),  # index into `category_ids`
        ("score", float),
        ("box_xywh", float, 4),  # px of the upright image
        ("hits", np.int32, len(IOUS)),  # id of the annotation that is hit at each of IOUS, 0: none
    ]
)


class MatchCounts(NamedTuple):
    """Counts of one image, all categories together, or of one category in all images, at MATCH_IOU."""

    true_positives: int
    false_positives: int
    missed: int  # objects without a true positive


@dataclass(frozen=True, eq=False)
class Matches:
    """The detections of all images, matched with the objects as COCOeval does.

    The rows are in the order of the images, within an image best first. No object of this project's data sets is a
    crowd, so that each object is hit at most once.
    """

    image_ids: list[int]
    category_ids: list[int]
    rows: NDArray[np.void]  # [N] of ROW
    object_counts: NDArray[np.int64]  # [images, categories]

    @property
    def hits_50(self) -> NDArray[np.int64]:
        """The id of the annotation that each detection hits at MATCH_IOU, 0: none; [N]."""
        return self.rows["hits"][:, iou_index(MATCH_IOU)]

    @property
    def labels(self) -> NDArray[np.int64]:
        """The category id of each detection, [N]."""
        return np.array(self.category_ids, int)[self.rows["category"]]

    def above(self, score: float) -> "Matches":
        """Keep the detections of at least this score.

        The best-scored detections are matched first, so that a threshold removes matches but never changes one.
        """
        return replace(self, rows=self.rows[self.rows["score"] >= score])

    def counts_by_image(self) -> dict[int, MatchCounts]:
        """Count matches at MATCH_IOU, by image id."""
        return self._counts(self.rows["image"], self.image_ids, self.object_counts.sum(axis=1))

    def counts_by_category(self) -> dict[int, MatchCounts]:
        """Count matches at MATCH_IOU, by category id."""
        return self._counts(self.rows["category"], self.category_ids, self.object_counts.sum(axis=0))

    def _counts(
        self, groups: NDArray[np.int64], ids: list[int], object_counts: NDArray[np.int64]
    ) -> dict[int, MatchCounts]:
        found = np.bincount(groups, minlength=len(ids))
        right = np.bincount(groups[self.hits_50 > 0], minlength=len(ids))
        rows = np.stack([right, found - right, object_counts - right], axis=1).tolist()
        return {id_: MatchCounts(*row) for id_, row in zip(ids, rows, strict=True)}


def iou_index(iou: float) -> int:
    """Find an IoU among IOUS."""
    return int(np.flatnonzero(np.isclose(IOUS, iou))[0])


def precision_recall_f1(counts: list[MatchCounts]) -> dict[str, float]:
    """Compute precision, recall and F1 over images; 0 where there are no detections or no objects."""
    hits, wrong, missed = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0, 0)
    precision = hits / (hits + wrong) if hits + wrong else 0.0
    recall = hits / (hits + missed) if hits + missed else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return {"precision": round(precision, 4), "recall": round(recall, 4), "f1": round(f1, 4)}
