"""What keeps a detector from AP 1: its errors by kind, and the AP that each kind costs.

Kinds, thresholds and fixes follow TIDE (Bolya et al. 2020, "TIDE: A General Toolbox for Identifying Object Detection
Errors", and its implementation, tidecv 1.0.1), for matches at IoU 0.5.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pycocotools import mask

from viadet.annotations.coco import by_image, category_names
from viadet.evaluation.matching import MATCH_IOU
from viadet.evaluation.rankings import interpolate

BACKGROUND_IOU = 0.1  # below it, a detection has nothing to do with an object
ERROR_KINDS = ("class", "localisation", "both", "duplicate", "background", "missed")


class DetectionError(NamedTuple):
    """A false positive or a missed object."""

    kind: str  # one of ERROR_KINDS
    result_index: int | None  # of the false positive; None: a missed object
    annotation_id: int | None  # of the missed object, or of the one that the false positive should have matched


class ErrorAnalysis(NamedTuple):
    """The errors of a detector by kind and class."""

    counts: dict[tuple[str, int], int]  # by kind and category id, of the detection or else of the missed object
    ap50s: dict[str | None, dict[int, float]]  # by kind, from `ap50s_without`; None: as it is


def analyse_errors(
    coco: dict, results: Sequence[dict], matches: dict[int, int], score_threshold: float
) -> ErrorAnalysis:
    """Count the errors of each kind at a score threshold, and compute AP50 without all errors of the kind.

    Args:
        coco: ground truth.
        results: all detections in COCO results format, boxes [x_min, y_min, width, height] in px of the image.
        matches: from `matched_annotations`: the annotation's id by the index of each true positive.
        score_threshold: for the counts only.
    """
    errors = classify_errors(coco, results, matches)
    # A threshold removes matches but never changes one, as COCOeval matches the best-scored first.
    kept = [index for index, result in enumerate(results) if result["score"] >= score_threshold]
    kept_matches = {position: matches[index] for position, index in enumerate(kept) if index in matches}
    kept_results = [results[index] for index in kept]
    annotation_of = {annotation["id"]: annotation for annotation in coco["annotations"]}
    counts = Counter()
    for kind, index, annotation_id in classify_errors(coco, kept_results, kept_matches):
        entry = annotation_of[annotation_id] if index is None else kept_results[index]
        counts[kind, entry["category_id"]] += 1
    detections = as_array(results)
    ap50s = {kind: ap50s_without(kind, errors, coco, detections, matches) for kind in (None, *ERROR_KINDS)}
    return ErrorAnalysis(counts, ap50s)


def error_rows(analysis: ErrorAnalysis) -> list[dict]:
    """List how often each kind occurs and the mean AP50 that it costs; columns `error`, `count` and `AP50_lost`."""
    ap50 = _mean_ap(analysis.ap50s[None])
    return [
        {
            "error": kind,
            "count": sum(count for (error, _), count in analysis.counts.items() if error == kind),
            "AP50_lost": round(_mean_ap(analysis.ap50s[kind]) - ap50, 4),
        }
        for kind in ERROR_KINDS
    ]


def class_error_rows(coco: dict, analysis: ErrorAnalysis) -> list[dict]:
    """List the same for each class, in the column `class`, and kind; a class without any object loses no AP50."""
    ap50s, rows = analysis.ap50s[None], []
    for category_id, name in category_names(coco).items():
        for kind in ERROR_KINDS:
            ap50 = ap50s.get(category_id, 0.0)
            lost = analysis.ap50s[kind].get(category_id, ap50) - ap50
            count = analysis.counts.get((kind, category_id), 0)
            rows.append({"class": name, "error": kind, "count": count, "AP50_lost": round(lost, 4)})
    return rows


def _mean_ap(aps: dict[int, float]) -> float:
    return float(np.mean(list(aps.values()))) if aps else 0.0


def classify_errors(coco: dict, results: Sequence[dict], matches: dict[int, int]) -> list[DetectionError]:
    """Find the kind of each false positive, and the missed objects; arguments as for `analyse_errors`.

    An object that has a class or localisation error is not also missed.
    """
    matched_ids = set(matches.values())
    annotations, indices_by_image = by_image(coco["annotations"]), defaultdict(list)
    for index, result in enumerate(results):
        if index not in matches:
            indices_by_image[result["image_id"]].append(index)
    errors = []
    for image_id, indices in indices_by_image.items():
        errors += _classify_false_positives(indices, results, annotations[image_id], matched_ids)
    errors.sort(key=lambda error: error.result_index)
    found_ids = matched_ids | {error.annotation_id for error in errors if error.kind in ("class", "localisation")}
    missed = [annotation["id"] for annotation in coco["annotations"] if annotation["id"] not in found_ids]
    return errors + [DetectionError("missed", None, annotation_id) for annotation_id in missed]


def _classify_false_positives(
    indices: list[int], results: Sequence[dict], annotations: list[dict], matched_ids: set[int]
) -> list[DetectionError]:
    """Compare the false positives of an image, by their indices in the results, with its ground truth."""
    if not annotations:
        return [DetectionError("background", index, None) for index in indices]
    boxes_xywh = np.array([results[index]["bbox"] for index in indices], float)
    objects_xywh = np.array([annotation["bbox"] for annotation in annotations], float)
    ious = mask.iou(boxes_xywh, objects_xywh, [0] * len(annotations))  # [false positives, objects]
    labels = np.array([results[index]["category_id"] for index in indices])
    same_class = labels[:, None] == np.array([annotation["category_id"] for annotation in annotations])
    matched = np.array([annotation["id"] in matched_ids for annotation in annotations])
    same_class_ious, other_class_ious = ious * same_class, ious * ~same_class
    is_duplicate = (same_class_ious * matched).max(1) >= MATCH_IOU
    best_ious = same_class_ious.max(1), other_class_ious.max(1)

    errors = []
    for row, (index, same_iou, other_iou) in enumerate(zip(indices, *best_ious, strict=True)):
        kind, annotation_id = "", None
        if BACKGROUND_IOU <= same_iou < MATCH_IOU:
            kind, annotation_id = "localisation", annotations[int(same_class_ious[row].argmax())]["id"]
        elif other_iou >= MATCH_IOU:
            kind, annotation_id = "class", annotations[int(other_class_ious[row].argmax())]["id"]
        elif is_duplicate[row]:
            kind = "duplicate"
        else:
            kind = "background" if max(same_iou, other_iou) <= BACKGROUND_IOU else "both"
        errors.append(DetectionError(kind, index, annotation_id))
    return errors


def as_array(results: Sequence[dict]) -> np.ndarray:
    """Give `score` and `category_id` of detections in COCO results format as the fields of an array, [N]."""
    rows = ((result["score"], result["category_id"]) for result in results)
    return np.fromiter(rows, [("score", float), ("category_id", int)], len(results))


def ap50s_without(
    kind: str | None, errors: list[DetectionError], coco: dict, detections: np.ndarray, matches: dict[int, int]
) -> dict[int, float]:
    """Compute AP at IoU 0.5 by category id as if the detector made no errors of one kind.

    Args:
        kind: one of ERROR_KINDS; None: AP50 as it is.
        errors: from `classify_errors`.
        coco: as for `analyse_errors`, and so is `matches`.
        detections: from `as_array`.

    Returns:
        AP of the categories that have objects; missed ones do not count once they are fixed.
    """
    to_fix = [error for error in errors if error.kind == kind]
    fixed_matches = _fix_matches(to_fix, detections["score"], matches)
    missed_ids = {error.annotation_id for error in to_fix if error.result_index is None}
    category_of = {annotation["id"]: annotation["category_id"] for annotation in coco["annotations"]}
    object_counts = Counter(category_id for id_, category_id in category_of.items() if id_ not in missed_ids)

    scores, categories = detections["score"], detections["category_id"].copy()
    is_kept, is_hit = np.ones(len(detections), bool), np.zeros(len(detections), bool)
    is_kept[[error.result_index for error in to_fix if error.result_index is not None]] = False
    hits = list(fixed_matches)
    is_kept[hits] = is_hit[hits] = True
    categories[hits] = [category_of[annotation_id] for annotation_id in fixed_matches.values()]
    aps = {}
    for category_id, count in object_counts.items():
        kept = is_kept & (categories == category_id)
        aps[category_id] = average_precision(scores[kept], is_hit[kept], count)
    return aps


def _fix_matches(to_fix: list[DetectionError], scores: np.ndarray, matches: dict[int, int]) -> dict[int, int]:
    """Match class and localisation errors with their objects, best score first, each object at most once."""
    fixed_matches, matched_ids = dict(matches), set(matches.values())
    fixable = [error for error in to_fix if None not in (error.result_index, error.annotation_id)]
    for error in sorted(fixable, key=lambda error: -scores[error.result_index]):
        if error.annotation_id not in matched_ids:
            fixed_matches[error.result_index] = error.annotation_id
            matched_ids.add(error.annotation_id)
    return fixed_matches


def average_precision(scores: np.ndarray, is_hit: np.ndarray, object_count: int) -> float:
    """Compute COCO's AP of one category at one IoU: precision, made monotonic, at 101 recalls.

    Args:
        scores: of the detections, [N].
        is_hit: which of them are true positives, bool [N].
        object_count: at least 1.
    """
    ranked = is_hit[np.argsort(-scores, kind="stable")]
    ranks = np.flatnonzero(ranked) + 1  # of the true positives
    true_positives = np.arange(1, len(ranks) + 1)
    return float(interpolate(true_positives / ranks, true_positives / object_count).mean())
