"""COCO metrics of detections, by pycocotools."""

import contextlib
import copy
import io

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from viadet.network.boxes import MAX_DETECTIONS

# COCOeval.stats in its order, under mmdetection's names for AP; AR by the detections of an image that count
STATS = ("bbox_mAP", "bbox_mAP_50", "bbox_mAP_75", "bbox_mAP_s", "bbox_mAP_m", "bbox_mAP_l")
STATS += ("AR_1", "AR_10", "AR_100", "AR_s", "AR_m", "AR_l")


def run_cocoeval(coco: dict, results: list[dict], max_detections: int = MAX_DETECTIONS) -> COCOeval:
    """Evaluate results against ground truth, both in COCO's formats and left unchanged.

    Args:
        coco: ground truth.
        results: detections.
        max_detections: the best of an image and category that count, at least 10.
    """
    truth = _index(coco)
    boxes = [r | {"id": i, "iscrowd": 0, "area": r["bbox"][2] * r["bbox"][3]} for i, r in enumerate(results, start=1)]
    evaluation = COCOeval(truth, _index({**coco, "annotations": boxes}), iouType="bbox")
    evaluation.params.maxDets[-1] = max_detections
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    if max_detections != MAX_DETECTIONS and (precision > -1).any():
        evaluation.stats[0] = precision[precision > -1].mean()  # COCOeval finds this one at 100 detections only
    return evaluation


def coco_stats(evaluation: COCOeval) -> dict[str, float]:
    """AP and AR with four decimals; -1 where there is no ground truth of that size, as in COCOeval.

    `AR_100` is called by the evaluation's own number where that is another one.
    """
    names = [name.replace("_100", f"_{evaluation.params.maxDets[-1]}") for name in STATS]
    return {name: round(float(value), 4) for name, value in zip(names, evaluation.stats, strict=True)}


def map_with_ids_from_0(coco: dict, results: list[dict], max_detections: int = MAX_DETECTIONS) -> float:
    """AP as reported by those who number annotations from 0, so that COCOeval takes the first match for a miss."""
    lowest = min((annotation["id"] for annotation in coco["annotations"]), default=0)
    shifted = [annotation | {"id": annotation["id"] - lowest} for annotation in coco["annotations"]]
    return coco_stats(run_cocoeval({**coco, "annotations": shifted}, results, max_detections))["bbox_mAP"]


def _index(coco: dict) -> COCO:
    index = COCO()
    index.dataset = copy.deepcopy(coco)
    with contextlib.redirect_stdout(io.StringIO()):
        index.createIndex()
    return index
