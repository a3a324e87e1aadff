"""What keeps a detector from AP 1: its errors by kind, and the AP that each kind costs.

Kinds, thresholds and fixes follow TIDE (Bolya et al. 2020, "TIDE: A General Toolbox for Identifying Object Detection
Errors", and its implementation, tidecv 1.0.1), for matches at IoU 0.5.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask

from viadet.annotations.coco import by_image, category_names
from viadet.detection.detections import Detections
from viadet.evaluation.average_precision import average_precision
from viadet.evaluation.matches import MATCH_IOU, Matches

BACKGROUND_IOU = 0.1  # below it, a detection has nothing to do with an object
ERROR_KINDS = ("class", "localisation", "both", "duplicate", "background", "missed")


class DetectionError(NamedTuple):
    """A false positive or a missed object."""

    kind: str  # one of ERROR_KINDS
    row: int | None  # of the false positive, in the table of matches; None: a missed object
    annotation_id: int | None  # of the missed object, or of the one that the false positive should have matched
    confused_id: int | None = None  # of the object of another class that a false positive covers best, if any


class ErrorAnalysis(NamedTuple):
    """The errors of a detector, by kind and class."""

    matches: Matches  # of the detections of at least the score threshold
    errors: list[DetectionError]  # of these
    ap50s: dict[str | None, dict[int, float]]  # of all detections, by kind, from `ap50s_without`; None: as it is


def analyse_errors(
    coco: dict, detections: Mapping[int, Detections], matches: Matches, score_threshold: float
) -> ErrorAnalysis:
    """Find the errors of each kind at a score threshold, and compute AP50 without all errors of the kind.

    Args:
        coco: ground truth.
        detections: by image id.
        matches: of all detections.
        score_threshold: for the errors that are listed; AP50 is that of all detections.
    """
    errors = classify_errors(coco, detections, matches)
    ap50s = {kind: ap50s_without(kind, errors, coco, matches) for kind in (None, *ERROR_KINDS)}
    shown = matches.above(score_threshold)
    return ErrorAnalysis(shown, classify_errors(coco, detections, shown), ap50s)


def error_rows(analysis: ErrorAnalysis) -> list[dict]:
    """List how often each kind occurs and the mean AP50 that it costs; columns `error`, `count` and `AP50_lost`."""
    ap50 = _mean_ap(analysis.ap50s[None])
    counts = Counter(error.kind for error in analysis.errors)
    return [
        {"error": kind, "count": counts[kind], "AP50_lost": round(_mean_ap(analysis.ap50s[kind]) - ap50, 4)}
        for kind in ERROR_KINDS
    ]


def class_error_rows(coco: dict, analysis: ErrorAnalysis) -> list[dict]:
    """List the same for each class, in the column `class`, and kind; a class without any object loses no AP50.

    An error counts for the class of the detection, or else of the missed object.
    """
    category_of = {annotation["id"]: annotation["category_id"] for annotation in coco["annotations"]}
    category_ids = _category_ids(analysis.matches)
    counts = Counter(
        (error.kind, category_of[error.annotation_id] if error.row is None else int(category_ids[error.row]))
        for error in analysis.errors
    )
    ap50s, rows = analysis.ap50s[None], []
    for category_id, name in category_names(coco).items():
        for kind in ERROR_KINDS:
            ap50 = ap50s.get(category_id, 0.0)
            lost = analysis.ap50s[kind].get(category_id, ap50) - ap50
            rows.append({"class": name, "error": kind, "count": counts[kind, category_id], "AP50_lost": round(lost, 4)})
    return rows


def _mean_ap(aps: dict[int, float]) -> float:
    return float(np.mean(list(aps.values()))) if aps else 0.0


def _category_ids(matches: Matches) -> NDArray[np.int64]:
    """Give the category id of each detection, [N]."""
    return np.array(matches.category_ids, int)[matches.categories]


def classify_errors(coco: dict, detections: Mapping[int, Detections], matches: Matches) -> list[DetectionError]:
    """Find the kind of each false positive, and the missed objects; arguments as for `analyse_errors`.

    An object that has a class or localisation error is not also missed.
    """
    matched_ids = set(matches.hits_50.tolist())
    annotations = by_image(coco["annotations"])
    errors = []
    starts = np.searchsorted(matches.images, np.arange(len(matches.image_ids) + 1))
    for image_id, (start, stop) in zip(matches.image_ids, pairwise(starts.tolist()), strict=True):
        rows = start + np.flatnonzero(matches.hits_50[start:stop] == 0)
        if not len(rows):
            continue
        if not annotations[image_id]:
            errors += [DetectionError("background", row, None) for row in rows.tolist()]
            continue
        wrong = detections[image_id][matches.ranks[rows]]
        errors += _classify_false_positives(rows.tolist(), wrong, annotations[image_id], matched_ids)
    found_ids = matched_ids | {error.annotation_id for error in errors if error.kind in ("class", "localisation")}
    missed = [annotation["id"] for annotation in coco["annotations"] if annotation["id"] not in found_ids]
    return errors + [DetectionError("missed", None, annotation_id) for annotation_id in missed]


def _classify_false_positives(
    rows: list[int], wrong: Detections, annotations: list[dict], matched_ids: set[int]
) -> list[DetectionError]:
    """Compare the false positives of an image, with their rows in the table of matches, with its ground truth."""
    ids = [annotation["id"] for annotation in annotations]
    objects_xywh = np.array([annotation["bbox"] for annotation in annotations], float)
    ious = mask.iou(wrong.boxes_xywh, objects_xywh, [0] * len(annotations))  # [false positives, objects]
    same_class = wrong.labels[:, None] == np.array([annotation["category_id"] for annotation in annotations])
    is_matched = np.array([id_ in matched_ids for id_ in ids])
    same_class_ious, other_class_ious = ious * same_class, ious * ~same_class
    duplicate_ious = same_class_ious * is_matched

    errors = []
    for place, row in enumerate(rows):
        nearest, other = int(same_class_ious[place].argmax()), int(other_class_ious[place].argmax())
        same_iou, other_iou = same_class_ious[place, nearest], other_class_ious[place, other]
        confused_id = ids[other] if other_iou >= MATCH_IOU else None
        annotation_id = None
        if BACKGROUND_IOU <= same_iou < MATCH_IOU:
            kind, annotation_id = "localisation", ids[nearest]
        elif confused_id is not None:
            kind, annotation_id = "class", confused_id
        elif duplicate_ious[place].max() >= MATCH_IOU:
            kind = "duplicate"
        elif max(same_iou, other_iou) <= BACKGROUND_IOU:
            kind = "background"
        else:
            kind = "both"
        errors.append(DetectionError(kind, row, annotation_id, confused_id))
    return errors


def ap50s_without(kind: str | None, errors: list[DetectionError], coco: dict, matches: Matches) -> dict[int, float]:
    """Compute AP at IoU 0.5 by category id as if the detector made no errors of one kind.

    Args:
        kind: one of ERROR_KINDS; None: AP50 as it is.
        errors: from `classify_errors`.
        coco: ground truth.
        matches: of all detections.

    Returns:
        AP of the categories that have objects; missed ones do not count once they are fixed.
    """
    to_fix = [error for error in errors if error.kind == kind]
    missed_ids = {error.annotation_id for error in to_fix if error.row is None}
    category_of = {annotation["id"]: annotation["category_id"] for annotation in coco["annotations"]}
    object_counts = Counter(category_id for id_, category_id in category_of.items() if id_ not in missed_ids)

    hits = _fixed_hits(to_fix, matches)
    is_hit = hits != 0
    is_kept = np.ones(len(hits), bool)
    is_kept[[error.row for error in to_fix if error.row is not None]] = False
    is_kept |= is_hit
    categories = _category_ids(matches)
    categories[is_hit] = [category_of[annotation_id] for annotation_id in hits[is_hit].tolist()]
    ranking = np.argsort(-matches.scores, kind="stable")
    aps = {}
    for category_id, count in object_counts.items():
        chosen = ranking[(is_kept & (categories == category_id))[ranking]]
        aps[category_id] = average_precision(is_hit[chosen], count)
    return aps


def _fixed_hits(to_fix: list[DetectionError], matches: Matches) -> NDArray[np.int64]:
    """Match class and localisation errors with their objects, best score first, each object at most once, [N]."""
    hits = matches.hits_50.copy()
    matched_ids = set(hits.tolist())
    fixable = [error for error in to_fix if None not in (error.row, error.annotation_id)]
    for error in sorted(fixable, key=lambda error: -matches.scores[error.row]):
        if error.annotation_id not in matched_ids:
            hits[error.row] = error.annotation_id
            matched_ids.add(error.annotation_id)
    return hits
