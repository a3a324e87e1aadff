"""Detections matched with ground truth, as COCOeval matches them."""

from typing import NamedTuple

import numpy as np
from pycocotools.cocoeval import COCOeval

MATCH_IOU = 0.5  # of a true positive in precision, recall and F1


class Matches(NamedTuple):
    """Detections and ground truth of one image, matched at MATCH_IOU."""

    true_positives: int
    false_positives: int
    missed: int


def matches_by_image(evaluation: COCOeval, score_threshold: float) -> dict[int, Matches]:
    """Count matches by image id; detections below the threshold are left out, categories are added up."""
    counts = {image_id: np.zeros(3, int) for image_id in evaluation.params.imgIds}
    area, iou = all_areas_at(evaluation, MATCH_IOU)
    for entry in evaluation.evalImgs:
        if entry is None or entry["aRng"] != area:
            continue
        # COCOeval matches the best-scored first, so a threshold takes matches away but never changes one.
        counted = np.asarray(entry["dtScores"]) >= score_threshold
        found = int(np.count_nonzero(entry["dtMatches"][iou][counted])) if counted.size else 0
        counts[entry["image_id"]] += (found, int(counted.sum()) - found, len(entry["gtIds"]) - found)
    return {image_id: Matches(*map(int, count)) for image_id, count in counts.items()}


def matched_annotations(evaluation: COCOeval) -> dict[int, int]:
    """Map each true positive at MATCH_IOU, by its index in the results, to the id of the annotation that it found."""
    area, iou = all_areas_at(evaluation, MATCH_IOU)
    found = {}
    for entry in evaluation.evalImgs:
        if entry is not None and entry["aRng"] == area:
            # run_cocoeval counts results from 1; 0 is no match
            pairs = zip(entry["dtIds"], entry["dtMatches"][iou].astype(int).tolist(), strict=True)
            found |= {result_id - 1: annotation_id for result_id, annotation_id in pairs if annotation_id}
    return found


def precision_recall_f1(matches: list[Matches]) -> dict[str, float]:
    """Precision, recall and F1 over images; 0 where nothing was detected, or nothing was to be found."""
    found, wrong, missed = (sum(column) for column in zip(*matches, strict=True)) if matches else (0, 0, 0)
    precision = found / (found + wrong) if found + wrong else 0.0
    recall = found / (found + missed) if found + missed else 0.0
    f1 = 2 * precision * recall / (precision + recall) if found else 0.0
    return {"precision": round(precision, 4), "recall": round(recall, 4), "f1": round(f1, 4)}


def all_areas_at(evaluation: COCOeval, iou: float) -> tuple[list[float], int]:
    """Give COCOeval's area range that takes all boxes, and the index of an IoU threshold."""
    return evaluation.params.areaRng[0], int(np.flatnonzero(np.isclose(evaluation.params.iouThrs, iou))[0])
