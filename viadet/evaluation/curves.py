"""Curves and tables of an evaluation, as flat rows."""

import numpy as np
from pycocotools.cocoeval import COCOeval

from viadet.evaluation.bootstrap import ap_of_images
from viadet.evaluation.matching import Matches, all_areas_at


def precision_recall_rows(evaluation: COCOeval, ious: tuple[float, ...]) -> list[dict[str, float]]:
    """Precision at COCO's 101 recalls, mean over categories, a column `precision_50` for IoU 0.5 and so on."""
    by_iou = {}
    for iou in ious:
        index = all_areas_at(evaluation, iou)[1]
        precision = evaluation.eval["precision"][index, :, :, 0, -1]  # [101, categories]; -1: no ground truth
        by_iou[f"precision_{round(100 * iou)}"] = np.where(precision < 0, 0, precision).mean(axis=1)
    return [
        {"recall": float(recall)} | {name: float(values[i]) for name, values in by_iou.items()}
        for i, recall in enumerate(evaluation.params.recThrs)
    ]


DECIMALS = 3  # one object more or less, found on a few dozen images, changes the second


def ap_by_iou_rows(evaluation: COCOeval) -> list[dict[str, float]]:
    """AP, and recall with at most 100 detections an image, at each of COCO's IoU thresholds; means over categories."""
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # [10 IoUs, 101 recalls, categories]; -1: no ground truth
    recall = evaluation.eval["recall"][:, :, 0, -1]  # [10 IoUs, categories]
    with_objects = (recall[0] >= 0) if recall.size else np.zeros(0, bool)
    return [
        {
            "iou": float(iou),
            "AP": float(precision[i][:, with_objects].mean()) if with_objects.any() else 0.0,
            "recall": float(recall[i][with_objects].mean()) if with_objects.any() else 0.0,
        }
        for i, iou in enumerate(evaluation.params.iouThrs)
    ]


def image_rows(coco: dict, evaluation: COCOeval, matches: dict[int, Matches]) -> list[dict]:
    """AP of each image alone, lowest first, and what was found in it."""
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    rows = [
        {"image": names[image_id], "AP": round(ap_of_images(evaluation, np.array([index])), DECIMALS)}
        | {"objects": matches[image_id].true_positives + matches[image_id].missed}
        | {"right": matches[image_id].true_positives, "wrong": matches[image_id].false_positives}
        for index, image_id in enumerate(evaluation.params.imgIds)
    ]
    return sorted(rows, key=lambda row: row["AP"])
