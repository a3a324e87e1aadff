"""True positives, false positives and missed objects, matched as COCOeval does; precision, recall and F1."""

from typing import Literal, NamedTuple

import numpy as np
from pycocotools.cocoeval import COCOeval

MATCH_IOU = 0.5  # IoU from which a detection is a true positive in precision, recall and F1


class MatchCounts(NamedTuple):
    """Counts of one image, all categories together, or of one category in all images, at MATCH_IOU."""

    true_positives: int
    false_positives: int
    missed: int  # objects without a true positive


def count_matches(
    evaluation: COCOeval, score_threshold: float, by: Literal["image_id", "category_id"] = "image_id"
) -> dict[int, MatchCounts]:
    """Count matches by image or category id; detections below the score threshold are left out."""
    ids = evaluation.params.imgIds if by == "image_id" else evaluation.params.catIds
    counts = {id_: np.zeros(3, int) for id_ in ids}
    iou = iou_index(evaluation, MATCH_IOU)
    for entry in evaluation.evalImgs:
        # COCOeval matches the best-scored first, so a threshold removes matches but never changes one.
        above = np.asarray(entry["dtScores"]) >= score_threshold
        hits = int(np.count_nonzero(entry["dtMatches"][iou][above])) if above.size else 0
        counts[entry[by]] += (hits, int(above.sum()) - hits, len(entry["gtIds"]) - hits)
    return {id_: MatchCounts(*map(int, numbers)) for id_, numbers in counts.items()}


def matched_annotations(evaluation: COCOeval) -> dict[int, int]:
    """Map each true positive at MATCH_IOU, by its index in the results, to the id of its annotation."""
    matches, iou = {}, iou_index(evaluation, MATCH_IOU)
    for entry in evaluation.evalImgs:
        # run_cocoeval's ids of detections are indices; annotation id 0 means no match
        pairs = zip(entry["dtIds"], entry["dtMatches"][iou].tolist(), strict=True)
        matches |= {index: annotation_id for index, annotation_id in pairs if annotation_id}
    return matches


def precision_recall_f1(counts: list[MatchCounts]) -> dict[str, float]:
    """Compute precision, recall and F1 over images; 0 where there are no detections or no objects."""
    hits, wrong, missed = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0, 0)
    precision = hits / (hits + wrong) if hits + wrong else 0.0
    recall = hits / (hits + missed) if hits + missed else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return {"precision": round(precision, 4), "recall": round(recall, 4), "f1": round(f1, 4)}


def iou_index(evaluation: COCOeval, iou: float) -> int:
    """Find an IoU threshold among those of the evaluation."""
    return int(np.flatnonzero(np.isclose(evaluation.params.iouThrs, iou))[0])
