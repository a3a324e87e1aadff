"""Rows of an evaluation for curves and tables: precision by recall, AP by IoU, by image and by class."""

import numpy as np
from pycocotools.cocoeval import COCOeval

from viadet.annotations.coco import category_names
from viadet.evaluation.matching import MatchCounts, count_matches, iou_index
from viadet.evaluation.rankings import ap_by_image, rank_detections

CURVE_IOUS = (0.5, 0.75, 0.9)  # of the precision-recall curves
DECIMALS = 3  # with a few dozen images, one more object detected changes the second


def curve_tables(
    coco: dict, evaluation: COCOeval, counts: dict[int, MatchCounts], score_threshold: float
) -> dict[str, list[dict]]:
    """Make the rows of each curve and table, by the name of its file; `counts` by image id, from `count_matches`."""
    return {
        "precision_recall": precision_recall_rows(evaluation, CURVE_IOUS),
        "ap_by_iou": ap_by_iou_rows(evaluation),
        "by_image": image_rows(coco, evaluation, counts),
        "by_class": class_rows(coco, evaluation, count_matches(evaluation, score_threshold, by="category_id")),
    }


def precision_recall_rows(evaluation: COCOeval, ious: tuple[float, ...]) -> list[dict[str, float]]:
    """Compute precision at COCO's 101 recalls, mean over the categories with ground truth.

    Columns are `recall` and one for each IoU, such as `precision_50` for 0.5.
    """
    with_objects = _with_objects(evaluation)
    columns = {}
    for iou in ious:
        precision = evaluation.eval["precision"][iou_index(evaluation, iou), :, :, 0, -1][:, with_objects]
        name = f"precision_{round(100 * iou)}"
        columns[name] = precision.mean(axis=1) if with_objects.any() else np.zeros(len(precision))
    return [
        {"recall": float(recall)} | {name: float(values[index]) for name, values in columns.items()}
        for index, recall in enumerate(evaluation.params.recThrs)
    ]


def ap_by_iou_rows(evaluation: COCOeval) -> list[dict[str, float]]:
    """Compute AP, and recall with all detections, at each COCO IoU threshold; means over categories with ground truth.

    Columns are `iou`, `AP` and `recall`.
    """
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # [10 IoUs, 101 recalls, categories]
    recall = evaluation.eval["recall"][:, :, 0, -1]  # [10 IoUs, categories]
    with_objects = _with_objects(evaluation)
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
    image_ids = evaluation.params.imgIds
    rows = [
        {
            "image": file_names[image_id],
            "AP": round(ap, DECIMALS),
            "objects": counts[image_id].true_positives + counts[image_id].missed,
            "right": counts[image_id].true_positives,
            "wrong": counts[image_id].false_positives,
        }
        for image_id, ap in zip(image_ids, ap_by_image(rank_detections(evaluation), len(image_ids)), strict=True)
    ]
    return sorted(rows, key=lambda row: row["AP"])


def class_rows(coco: dict, evaluation: COCOeval, counts: dict[int, MatchCounts]) -> list[dict]:
    """List AP and match counts of each class; AP is -1 for a class without ground truth, as in COCOeval.

    Columns are `class`, `objects`, `AP`, `AP_50`, `AP_75`, `right`, `wrong` and `missed`.

    Args:
        coco: ground truth of the evaluation.
        evaluation: of all images, accumulated.
        counts: by category id, from `count_matches`.
    """
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # [10 IoUs, 101 recalls, categories]
    rows = []
    for index, category_id in enumerate(evaluation.params.catIds):
        aps = precision[:, :, index].mean(axis=1)
        count = counts[category_id]
        row = {"class": category_names(coco)[category_id], "objects": count.true_positives + count.missed}
        row["AP"] = round(float(aps.mean()), DECIMALS)
        for column, iou in (("AP_50", 0.5), ("AP_75", 0.75)):
            row[column] = round(float(aps[iou_index(evaluation, iou)]), DECIMALS)
        rows.append(row | {"right": count.true_positives, "wrong": count.false_positives, "missed": count.missed})
    return rows


def _with_objects(evaluation: COCOeval) -> np.ndarray:
    """Tell which categories have ground truth, bool [categories]; COCOeval's figures of the others are -1."""
    recall = evaluation.eval["recall"][:, :, 0, -1]  # [10 IoUs, categories]
    return (recall[0] >= 0) if recall.size else np.zeros(0, bool)
