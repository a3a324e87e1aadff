"""Rows of an evaluation for curves and tables: precision by recall, AP by IoU, by image and by class."""

import numpy as np

from viadet.annotations.coco import category_names
from viadet.evaluation.average_precision import RECALLS, ap_by_image
from viadet.evaluation.coco_metrics import CocoMetrics
from viadet.evaluation.matches import IOUS, iou_index

CURVE_IOUS = (0.5, 0.75, 0.9)  # of the precision-recall curves
DECIMALS = 3  # with a few dozen images, one more object detected changes the second


def curve_tables(coco: dict, metrics: CocoMetrics, score_threshold: float) -> dict[str, list[dict]]:
    """Make the rows of each curve and table, by the name of its file."""
    return {
        "precision_recall": precision_recall_rows(metrics, CURVE_IOUS),
        "ap_by_iou": ap_by_iou_rows(metrics),
        "by_image": image_rows(coco, metrics, score_threshold),
        "by_class": class_rows(coco, metrics, score_threshold),
    }


def precision_recall_rows(metrics: CocoMetrics, ious: tuple[float, ...]) -> list[dict[str, float]]:
    """Compute precision at COCO's 101 recalls, mean over the categories with ground truth.

    Columns are `recall` and one for each IoU, such as `precision_50` for 0.5.
    """
    with_objects = _with_objects(metrics)
    columns = {}
    for iou in ious:
        precision = metrics.precision[iou_index(iou)][:, with_objects]
        name = f"precision_{round(100 * iou)}"
        columns[name] = precision.mean(axis=1) if with_objects.any() else np.zeros(len(precision))
    return [
        {"recall": float(recall)} | {name: float(values[index]) for name, values in columns.items()}
        for index, recall in enumerate(RECALLS)
    ]


def ap_by_iou_rows(metrics: CocoMetrics) -> list[dict[str, float]]:
    """Compute AP, and recall with all detections, at each COCO IoU threshold; means over categories with ground truth.

    Columns are `iou`, `AP` and `recall`.
    """
    with_objects = _with_objects(metrics)
    return [
        {
            "iou": float(iou),
            "AP": float(metrics.precision[index][:, with_objects].mean()) if with_objects.any() else 0.0,
            "recall": float(metrics.recall[index][with_objects].mean()) if with_objects.any() else 0.0,
        }
        for index, iou in enumerate(IOUS)
    ]


def image_rows(coco: dict, metrics: CocoMetrics, score_threshold: float) -> list[dict]:
    """List AP of each image, lowest first, and its matches from a score on.

    Columns are `image`, `AP`, `objects`, `right` and `wrong`.
    """
    file_names = {image["id"]: image["file_name"] for image in coco["images"]}
    counts = metrics.matches.above(score_threshold).counts_by_image()
    rows = [
        {
            "image": file_names[image_id],
            "AP": round(ap, DECIMALS),
            "objects": counts[image_id].true_positives + counts[image_id].missed,
            "right": counts[image_id].true_positives,
            "wrong": counts[image_id].false_positives,
        }
        for image_id, ap in zip(metrics.matches.image_ids, ap_by_image(metrics.matches), strict=True)
    ]
    return sorted(rows, key=lambda row: row["AP"])


def class_rows(coco: dict, metrics: CocoMetrics, score_threshold: float) -> list[dict]:
    """List AP of each class, -1 for one without ground truth, as in COCOeval, and its matches from a score on.

    Columns are `class`, `objects`, `AP`, `AP_50`, `AP_75`, `right`, `wrong` and `missed`.
    """
    counts = metrics.matches.above(score_threshold).counts_by_category()
    names, rows = category_names(coco), []
    for index, category_id in enumerate(metrics.matches.category_ids):
        aps = metrics.precision[:, :, index].mean(axis=1)
        count = counts[category_id]
        rows.append(
            {
                "class": names[category_id],
                "objects": count.true_positives + count.missed,
                "AP": round(float(aps.mean()), DECIMALS),
                "AP_50": round(float(aps[iou_index(0.5)]), DECIMALS),
                "AP_75": round(float(aps[iou_index(0.75)]), DECIMALS),
                "right": count.true_positives,
                "wrong": count.false_positives,
                "missed": count.missed,
            }
        )
    return rows


def _with_objects(metrics: CocoMetrics) -> np.ndarray:
    """Tell which categories have ground truth, bool [categories]; COCOeval's figures of the others are -1."""
    return metrics.recall[0] >= 0 if metrics.recall.size else np.zeros(0, bool)
