"""The confusion matrix: the class of each object against the class that was detected in its place."""

from collections.abc import Sequence

import numpy as np
from pycocotools import mask

from viadet.annotations.coco import by_image, category_names
from viadet.evaluation.matching import MATCH_IOU

# In brackets, as they are not classes: the row of detections without an object, the column of undetected objects.
BACKGROUND, MISSED = "(background)", "(missed)"
OBJECTS = "(objects)"  # the column of the rows' names


def confusion_matrix(coco: dict, results: Sequence[dict], score_threshold: float) -> np.ndarray:
    """Count objects and detections by their classes.

    Objects and detections are matched whatever their classes, from the highest IoU down to MATCH_IOU, each at most
    once, after Ultralytics' ConfusionMatrix. COCOeval matches within a class, from the highest score down, so that the
    numbers of right detections may differ.

    Args:
        coco: ground truth.
        results: detections in COCO results format.
        score_threshold: detections with a lower score are left out.

    Returns:
        int [K + 1, K + 1]: rows are classes of objects, in the order of `coco["categories"]`, then the background;
        columns are classes of detections, then the missed objects.
    """
    position = {category_id: index for index, category_id in enumerate(category_names(coco))}
    last = len(position)
    matrix = np.zeros((last + 1, last + 1), dtype=int)
    objects_by_image = by_image(coco["annotations"])
    detections_by_image = by_image([result for result in results if result["score"] >= score_threshold])
    for image in coco["images"]:
        objects, detections = objects_by_image[image["id"]], detections_by_image[image["id"]]
        rows, columns = ([position[entry["category_id"]] for entry in entries] for entries in (objects, detections))
        pairs = _matched_pairs(objects, detections)
        for object_index, detection_index in pairs.items():
            matrix[rows[object_index], columns[detection_index]] += 1
        for object_index in set(range(len(objects))) - pairs.keys():
            matrix[rows[object_index], last] += 1
        for detection_index in set(range(len(detections))) - set(pairs.values()):
            matrix[last, columns[detection_index]] += 1
    return matrix


def _matched_pairs(objects: list[dict], detections: list[dict]) -> dict[int, int]:
    """Match the objects of one image with its detections: the detection's index by that of the object."""
    if not objects or not detections:
        return {}
    boxes_xywh = (np.array([entry["bbox"] for entry in entries], float) for entries in (objects, detections))
    ious = mask.iou(*boxes_xywh, [0] * len(detections))  # [objects, detections]
    pairs = {}
    for index in np.argsort(-ious, axis=None, kind="stable").tolist():
        object_index, detection_index = divmod(index, len(detections))
        if ious[object_index, detection_index] < MATCH_IOU:
            break
        if object_index not in pairs and detection_index not in pairs.values():
            pairs[object_index] = detection_index
    return pairs


def confusion_rows(coco: dict, matrix: np.ndarray) -> list[dict[str, float | str]]:
    """List the matrix: a row a class of objects, named in the column OBJECTS, a column a class of detections."""
    names = list(category_names(coco).values())
    return [
        {OBJECTS: row_name} | {name: int(count) for name, count in zip([*names, MISSED], counts, strict=True)}
        for row_name, counts in zip([*names, BACKGROUND], matrix, strict=True)
    ]
