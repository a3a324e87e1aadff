"""Rows of an evaluation for curves and tables: precision by recall, AP by IoU, AP by image."""

import numpy as np
from pycocotools.cocoeval import COCOeval

from viadet.evaluation.bootstrap import ap_of_images
from viadet.evaluation.matching import MatchCounts, iou_index

DECIMALS = 3  # with a few dozen images, one more object detected changes the second


def precision_recall_rows(evaluation: COCOeval, ious: tuple[float, ...]) -> list[dict[str, float]]:
    """Compute precision at COCO's 101 recalls, mean over categories; columns `recall` and one a `precision_column`."""
    columns = {}
    for iou in ious:
        # [101 recalls, categories]; -1: no ground truth
        precision = evaluation.eval["precision"][iou_index(evaluation, iou), :, :, 0, -1]
        columns[precision_column(iou)] = np.where(precision < 0, 0, precision).mean(axis=1)
    return [
        {"recall": float(recall)} | {name: float(values[index]) for name, values in columns.items()}
        for index, recall in enumerate(evaluation.params.recThrs)
    ]


def precision_column(iou: float) -> str:
    """Name the column of precision at an IoU: `precision_50` for 0.5."""
    return f"precision_{round(100 * iou)}"


def ap_by_iou_rows(evaluation: COCOeval) -> list[dict[str, float]]:
    """Compute AP, and recall with at most 100 detections an image, at each COCO IoU threshold; means over categories.

    Columns are `iou`, `AP` and `recall`; categories without ground truth are left out.
    """
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # [10 IoUs, 101 recalls, categories]; -1: no ground truth
    recall = evaluation.eval["recall"][:, :, 0, -1]  # [10 IoUs, categories]
    with_objects = (recall[0] >= 0) if recall.size else np.zeros(0, bool)
    return [
        {
            "iou": float(iou),
            "AP": float(precision[index][:, with_objects].mean()) if with_objects.any() else 0.0,
            "recall": float(recall[index][with_objects].mean()) if with_objects.any() else 0.0,
        }
        for index, iou in enumerate(evaluation.params.iouThrs)
    ]


def image_rows(coco: dict, evaluation: COCOeval, counts: dict[int, MatchCounts]) -> list[dict]:
    """List AP and match counts of each image, lowest AP first; columns `image`, `AP`, `objects`, `right`, `wrong`.

    Args:
        coco: ground truth of the evaluation.
        evaluation: of all images, accumulated.
        counts: by image id, from `count_matches`.
    """
    file_names = {image["id"]: image["file_name"] for image in coco["images"]}
    rows = [
        {
            "image": file_names[image_id],
            "AP": round(ap_of_images(evaluation, np.array([index])), DECIMALS),
            "objects": counts[image_id].true_positives + counts[image_id].missed,
            "right": counts[image_id].true_positives,
            "wrong": counts[image_id].false_positives,
        }
        for index, image_id in enumerate(evaluation.params.imgIds)
    ]
    return sorted(rows, key=lambda row: row["AP"])
