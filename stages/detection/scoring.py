"""COCO metrics of detections, by pycocotools."""

import contextlib
import copy
import io
from typing import NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# COCOeval.stats in its order, under mmdetection's names for AP
STATS = ("bbox_mAP", "bbox_mAP_50", "bbox_mAP_75", "bbox_mAP_s", "bbox_mAP_m", "bbox_mAP_l")
STATS += ("AR_1", "AR_10", "AR_100", "AR_s", "AR_m", "AR_l")
MATCH_IOU = 0.5  # of a true positive in precision, recall and F1


class Matches(NamedTuple):
    """Detections and ground truth of one image, matched at MATCH_IOU."""

    true_positives: int
    false_positives: int
    missed: int


def run_cocoeval(coco: dict, results: list[dict]) -> COCOeval:
    """Evaluate results against ground truth, both in COCO's formats and left unchanged."""
    truth = _index(coco)
    boxes = [r | {"id": i, "iscrowd": 0, "area": r["bbox"][2] * r["bbox"][3]} for i, r in enumerate(results, start=1)]
    evaluation = COCOeval(truth, _index({**coco, "annotations": boxes}), iouType="bbox")
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def coco_stats(evaluation: COCOeval) -> dict[str, float]:
    """AP and AR with four decimals; -1 where there is no ground truth of that size, as in COCOeval."""
    return {name: round(float(value), 4) for name, value in zip(STATS, evaluation.stats, strict=True)}


def map_with_ids_from_0(coco: dict, results: list[dict]) -> float:
    """AP as reported by those who number annotations from 0, so that COCOeval takes the first match for a miss."""
    lowest = min((annotation["id"] for annotation in coco["annotations"]), default=0)
    shifted = [annotation | {"id": annotation["id"] - lowest} for annotation in coco["annotations"]]
    return coco_stats(run_cocoeval({**coco, "annotations": shifted}, results))["bbox_mAP"]


def matches_by_image(evaluation: COCOeval, score_threshold: float) -> dict[int, Matches]:
    """Count matches by image id; detections below the threshold are left out, categories are added up."""
    counts = {image_id: np.zeros(3, int) for image_id in evaluation.params.imgIds}
    area, iou = _all_areas_at(evaluation, MATCH_IOU)
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
    area, iou = _all_areas_at(evaluation, MATCH_IOU)
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


def precision_recall_rows(evaluation: COCOeval, ious: tuple[float, ...]) -> list[dict[str, float]]:
    """Precision at COCO's 101 recalls, mean over categories, a column `precision_50` for IoU 0.5 and so on."""
    by_iou = {}
    for iou in ious:
        index = _all_areas_at(evaluation, iou)[1]
        precision = evaluation.eval["precision"][index, :, :, 0, -1]  # [101, categories]; -1: no ground truth
        by_iou[f"precision_{round(100 * iou)}"] = np.where(precision < 0, 0, precision).mean(axis=1)
    return [
        {"recall": float(recall)} | {name: float(values[i]) for name, values in by_iou.items()}
        for i, recall in enumerate(evaluation.params.recThrs)
    ]


def _all_areas_at(evaluation: COCOeval, iou: float) -> tuple[list[float], int]:
    """Give COCOeval's area range that takes all boxes, and the index of an IoU threshold."""
    return evaluation.params.areaRng[0], int(np.flatnonzero(np.isclose(evaluation.params.iouThrs, iou))[0])


def _index(coco: dict) -> COCO:
    index = COCO()
    index.dataset = copy.deepcopy(coco)
    with contextlib.redirect_stdout(io.StringIO()):
        index.createIndex()
    return index
