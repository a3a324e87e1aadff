"""What keeps a detector from AP 1: its errors by kind, and the AP that each kind costs.

Kinds, thresholds and fixes after TIDE (Bolya et al. 2020, "TIDE: A General Toolbox for Identifying Object Detection
Errors", and its implementation, tidecv 1.0.1), for matches at IoU 0.5.
"""

from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np
from pycocotools import mask

from viadet.annotations.coco import by_image
from viadet.evaluation.matching import MATCH_IOU

BACKGROUND_IOU = 0.1  # below it, a detection has nothing to do with an object
KINDS = ("class", "localisation", "both", "duplicate", "background", "missed")


class Error(NamedTuple):
    """A false positive, or an object that was missed."""

    kind: str
    result: int | None  # index of the detection
    annotation_id: int | None  # of the object that the detection was meant for, or that was missed


def find_errors(coco: dict, results: list[dict], found: dict[int, int]) -> list[Error]:
    """Say of each false positive, and of each object that nothing was meant for, what went wrong.

    Args:
        coco: ground truth.
        results: detections in COCO's results format, boxes [x_min, y_min, width, height] in px of the image.
        found: the annotation's id for the index of each true positive at MATCH_IOU.
    """
    used = set(found.values())
    truths = by_image(coco["annotations"])
    errors = [
        _false_positive(index, result, truths[result["image_id"]], used)
        for index, result in enumerate(results)
        if index not in found
    ]
    # An object that a wrong class or a loose box was meant for is not also a missed one.
    meant = {error.annotation_id for error in errors if error.kind in ("class", "localisation")}
    missed = [annotation["id"] for annotation in coco["annotations"] if annotation["id"] not in used | meant]
    return errors + [Error("missed", None, annotation_id) for annotation_id in missed]


def _false_positive(index: int, result: dict, truth: list[dict], used: set[int]) -> Error:
    if not truth:
        return Error("background", index, None)
    boxes_xywh = np.array([annotation["bbox"] for annotation in truth], float)
    ious = mask.iou(np.array([result["bbox"]], float), boxes_xywh, [0] * len(truth))[0]
    same_class = np.array([annotation["category_id"] == result["category_id"] for annotation in truth])
    is_used = np.array([annotation["id"] in used for annotation in truth])

    own, other = ious * same_class, ious * ~same_class
    if BACKGROUND_IOU <= own.max() < MATCH_IOU:
        return Error("localisation", index, truth[int(own.argmax())]["id"])
    if other.max() >= MATCH_IOU:
        return Error("class", index, truth[int(other.argmax())]["id"])
    if (own * is_used).max() >= MATCH_IOU:
        return Error("duplicate", index, None)
    return Error("background" if ious.max() <= BACKGROUND_IOU else "both", index, None)


def ap50_without(
    kind: str | None, errors: list[Error], coco: dict, results: list[dict], found: dict[int, int]
) -> float:
    """AP at IoU 0.5, mean over categories, of a detector that makes no errors of one kind.

    A wrong class or a loose box becomes a true positive of its object, unless the object has one already or a
    better-scored error became it; all other false positives of the kind go. Missed objects are not asked for.
    With None for the kind: the AP50 as it is.
    """
    class_of = {annotation["id"]: annotation["category_id"] for annotation in coco["annotations"]}
    mine = [error for error in errors if error.kind == kind]
    missed = {error.annotation_id for error in mine if error.result is None}
    wrong = sorted((error for error in mine if error.result is not None), key=lambda e: -results[e.result]["score"])
    gone, right, used = {error.result for error in wrong}, dict(found), set(found.values())
    for error in wrong:
        if error.annotation_id is not None and error.annotation_id not in used:
            right[error.result] = error.annotation_id
            used.add(error.annotation_id)

    scores, hits, objects = defaultdict(list), defaultdict(list), Counter()
    for annotation_id, category_id in class_of.items():
        objects[category_id] += annotation_id not in missed
    for index, result in enumerate(results):
        if index in right or index not in gone:
            category_id = class_of[right[index]] if index in right else result["category_id"]
            scores[category_id].append(result["score"])
            hits[category_id].append(index in right)
    aps = [average_precision(scores[c], hits[c], count) for c, count in objects.items() if count]
    return float(np.mean(aps)) if aps else 0.0


def average_precision(scores: list[float], hits: list[bool], objects: int) -> float:
    """COCO's AP of one category at one IoU: precision, made monotonic, at 101 recalls.

    Args:
        scores: of the detections.
        hits: which of them are true positives.
        objects: number of objects, at least 1.
    """
    ranked = np.array(hits, bool)[np.argsort(-np.array(scores), kind="stable")]
    found = np.cumsum(ranked)
    precision = np.maximum.accumulate((found / np.arange(1, len(ranked) + 1))[::-1])[::-1]
    # COCOeval's recalls, computed as it does, so that an equal recall compares equal
    at = np.searchsorted(found / objects, np.linspace(0.0, 1.0, 101))
    return float(np.append(precision, 0.0)[at].mean())


def error_rows(coco: dict, results: list[dict], found: dict[int, int], score_threshold: float) -> list[dict]:
    """Tell for each kind how many errors there are at a score threshold, and the AP50 that all of its errors cost."""
    errors = find_errors(coco, results, found)
    # A threshold takes matches away but never changes one, as COCOeval matches the best-scored first.
    kept = [index for index, result in enumerate(results) if result["score"] >= score_threshold]
    counts = Counter(
        error.kind
        for error in find_errors(
            coco,
            [results[index] for index in kept],
            {new: found[index] for new, index in enumerate(kept) if index in found},
        )
    )
    ap50 = ap50_without(None, errors, coco, results, found)
    return [
        {
            "error": kind,
            "count": counts[kind],
            "AP50_lost": round(ap50_without(kind, errors, coco, results, found) - ap50, 4),
        }
        for kind in KINDS
    ]
