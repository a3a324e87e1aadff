"""Suspects: annotations, and places without one, about which a network that has not seen them disagrees.

The kinds are those of ObjectLab (Tkachenko, Thyagarajan and Mueller, "ObjectLab: Automated Diagnosis of Mislabeled
Images in Object Detection Data", 2023): overlooked, badly located and swapped, to which come spurious and double ones.
As there, each score is the detector's confidence times the distance between what it sees and what is annotated. Here
both are figures that can be read: the confidence is the share of detections with such a score that hit an annotation,
the distance is 1 - IoU. So a score of 0.9 means the same in each kind: the change of the annotation that is to be
expected, from none (0) to an object that appears, disappears or changes its class for sure (1).
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pycocotools import mask

from viadet.annotations.coco import by_image
from viadet.detection.detections import Detections

KINDS = ("missing", "spurious", "class", "loose", "double")
HIT_IOU = 0.5  # from which a detection is of the annotated object
LOOSE_IOU = (0.3, 0.8)  # of a detection that is of the annotated object, but is not where the annotation is
LEAST_SCORE = 0.05  # of detections that count: there are hundreds of others in each image
LIKELY = 0.5  # confidence of a detection that is more likely right than wrong
FIT_STEPS = 50
RIDGE = 1e-3  # of the fit: keeps it finite where all detections hit
Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class Suspect(NamedTuple):
    """An annotation that may be wrong, or an object that may be missing."""

    kind: str  # one of KINDS
    score: float  # 0..1, the expected change of the annotation
    image_id: int
    annotation: int | None  # its place among the image's annotations; None: of a missing object
    category_id: int | None  # what the detector sees; None: nothing there, or nothing but another annotation's object
    box_xyxy: tuple[float, float, float, float] | None  # likewise, px of the upright image


class Compared(NamedTuple):
    """The annotations of an image and its detections of at least LEAST_SCORE."""

    image_id: int
    annotations: list[dict]
    detections: Detections
    ious: NDArray[np.float64]  # [detections, annotations]
    same_class: NDArray[np.bool_]  # likewise


class Evidence(NamedTuple):
    """What speaks for and against the annotations of an image."""

    image: Compared
    confidence: NDArray[np.float64]  # of each detection
    found_share: NDArray[np.float64]  # of annotations as large as each one
    pairs: dict[int, int]  # annotations with the detections of their class that are theirs
    free: NDArray[np.bool_]  # the other detections


def find_suspects(coco: dict, detections: Mapping[int, Detections]) -> list[Suspect]:
    """Find suspects in annotated images, the highest scores first; an annotation is one at most.

    Args:
        coco: the annotations of all images.
        detections: by image id, each by a network that was not trained on this image; an image without any is left out.
    """
    annotations = by_image(coco["annotations"])
    images = [
        compare(image["id"], annotations[image["id"]], detections.get(image["id"], Detections.none()))
        for image in coco["images"]
    ]
    confidence = fit_confidence(images)
    found_share = fit_found_share(images, confidence)
    suspects = [suspect for image in images for suspect in suspects_of(image, confidence, found_share)]
    return sorted(suspects, key=lambda suspect: -suspect.score)


def compare(image_id: int, annotations: list[dict], detections: Detections) -> Compared:
    """Compare the detections of an image with its annotations."""
    detections = detections.above(LEAST_SCORE)
    boxes_xywh, _ = detections.rounded()
    ious = _ious(boxes_xywh, [annotation["bbox"] for annotation in annotations])
    labels = np.array([annotation["category_id"] for annotation in annotations], int)
    return Compared(image_id, annotations, detections, ious, detections.labels[:, None] == labels)


def fit_confidence(images: list[Compared]) -> Curve:
    """Fit the share of detections that hit an annotation of their class, by score (Platt 1999)."""
    scores = np.concatenate([image.detections.scores for image in images])
    hits = []
    for image in images:
        pairs = pair_up(image, image.detections.scores.astype(np.float64), HIT_IOU)
        hits.append(np.isin(np.arange(len(image.detections)), list(pairs.values())))
    curve = fit_logistic(_logit(scores), np.concatenate(hits))
    return lambda scores: curve(_logit(scores))


def fit_found_share(images: list[Compared], confidence: Curve) -> Curve:
    """Fit the share of annotations that are found, by area, px²: of small objects, many are not.

    Found is what a detection hits that is more likely right than wrong, of whatever class.
    """
    areas, found = [], []
    for image in images:
        sure = image.ious[confidence(image.detections.scores) >= LIKELY]
        areas += [annotation["area"] for annotation in image.annotations]
        found += (sure.max(0, initial=0) >= HIT_IOU).tolist()
    curve = fit_logistic(np.log(np.maximum(areas, 1)), np.array(found))
    return lambda areas: curve(np.log(np.maximum(areas, 1)))


def fit_logistic(values: NDArray[np.floating], outcomes: NDArray[np.bool_]) -> Curve:
    """Fit the probability of an outcome as a logistic function of a value, by Newton's method."""
    mean, deviation = (values.mean(), values.std() or 1.0) if len(values) else (0.0, 1.0)
    rows = np.stack([np.ones(len(values)), (values - mean) / deviation], 1)
    weights = np.zeros(2)
    for _ in range(FIT_STEPS):
        expected = _sigmoid(rows @ weights)
        gradient = rows.T @ (outcomes - expected) - RIDGE * weights
        hessian = (rows * (expected * (1 - expected))[:, None]).T @ rows + RIDGE * np.eye(2)
        weights += np.linalg.solve(hessian, gradient)
    return lambda values: _sigmoid(weights[0] + weights[1] * (values - mean) / deviation)


def suspects_of(image: Compared, confidence: Curve, found_share: Curve) -> list[Suspect]:
    """Find the suspects of an image: at most one for each annotation, and what is not annotated at all."""
    sure = confidence(image.detections.scores)
    pairs = pair_up(image, sure, LOOSE_IOU[0])
    free = np.ones(len(sure), bool)
    free[list(pairs.values())] = False
    areas = np.array([annotation["area"] for annotation in image.annotations], float)
    evidence = Evidence(image, sure, found_share(areas), pairs, free)
    suspects = []
    for annotation in range(len(image.annotations)):
        kind, score, detection = _worst_suspicion(evidence, annotation)
        if kind == "class":
            free[detection] = False
        suspects.append(_suspect(kind, score, image, annotation, detection))
    return [suspect for suspect in [*suspects, *_missing(evidence)] if suspect.score > 0]


def pair_up(image: Compared, sure: NDArray[np.float64], least_iou: float) -> dict[int, int]:
    """Pair annotations with detections of their class, each once; gives a detection by its annotation.

    The surest and nearest come first.
    """
    support = np.where(image.same_class & (image.ious >= least_iou), sure[:, None] * image.ious, 0)
    pairs: dict[int, int] = {}
    taken = np.zeros(len(sure), bool)
    for place in np.argsort(-support, axis=None, kind="stable"):
        detection, annotation = divmod(int(place), support.shape[1])
        if not support[detection, annotation]:
            break
        if annotation not in pairs and not taken[detection]:
            pairs[annotation], taken[detection] = detection, True
    return pairs


def _worst_suspicion(evidence: Evidence, annotation: int) -> tuple[str, float, int | None]:
    """Give the kind and the score of what speaks most against an annotation, and the detection that does, if any."""
    sure, ious, own = evidence.confidence, evidence.image.ious[:, annotation], evidence.pairs.get(annotation)
    right = 0.0 if own is None else float(sure[own])
    near = evidence.free & (ious >= LOOSE_IOU[0])
    swapped = evidence.free & (ious >= HIT_IOU) & ~evidence.image.same_class[:, annotation]
    suspicions: list[tuple[str, float, int | None]] = []
    if swapped.any():
        other = int(np.where(swapped, sure, 0).argmax())
        suspicions.append(("class", sure[other] * (1 - right), other))
    if right >= LIKELY:
        suspicions.append(("loose", right * (1 - ious[own]) if ious[own] < LOOSE_IOU[1] else 0.0, own))
    else:
        kind = "double" if _lies_on_another(evidence, annotation) else "spurious"
        support = max(right, sure[near].max(initial=0))
        suspicions.append((kind, evidence.found_share[annotation] * (1 - support), None))
    return max(suspicions, key=lambda suspicion: suspicion[1])


def _lies_on_another(evidence: Evidence, annotation: int) -> bool:
    """Tell whether an annotation lies on another one of its class, which a detection is likely to be of."""
    annotations = evidence.image.annotations
    category_id = annotations[annotation]["category_id"]
    found = [
        annotations[other]["bbox"]
        for other, detection in evidence.pairs.items()
        if other != annotation
        and annotations[other]["category_id"] == category_id
        and evidence.confidence[detection] >= LIKELY
    ]
    return _ious([annotations[annotation]["bbox"]], found).max(initial=0) >= HIT_IOU


def _missing(evidence: Evidence) -> list[Suspect]:
    """Find detections of nothing that is annotated; of those that lie on each other, the surest counts."""
    image, sure = evidence.image, evidence.confidence
    nearest = image.ious.max(1, initial=0)
    left = np.flatnonzero(evidence.free & (nearest < HIT_IOU))
    boxes_xywh, _ = image.detections.rounded()
    kept: list[int] = []
    for detection in left[np.argsort(-sure[left], kind="stable")].tolist():
        if _ious(boxes_xywh[[detection]], boxes_xywh[kept]).max(initial=0) < HIT_IOU:
            kept.append(detection)
    return [_suspect("missing", sure[row] * (1 - nearest[row]), image, None, row) for row in kept]


def _ious(boxes_xywh: ArrayLike, others_xywh: ArrayLike) -> NDArray[np.float64]:
    """Compute the IoU of boxes [N, 4] with others [M, 4], [N, M]."""
    boxes_xywh, others_xywh = (np.asarray(boxes, float).reshape(-1, 4) for boxes in (boxes_xywh, others_xywh))
    if not (len(boxes_xywh) and len(others_xywh)):
        return np.zeros((len(boxes_xywh), len(others_xywh)))
    return np.asarray(mask.iou(boxes_xywh, others_xywh, [0] * len(others_xywh)))


def _suspect(kind: str, score: float, image: Compared, annotation: int | None, detection: int | None) -> Suspect:
    seen = image.detections
    category_id = None if detection is None else int(seen.labels[detection])
    box_xyxy = None if detection is None else tuple(round(float(value), 2) for value in seen.boxes_xyxy[detection])
    return Suspect(kind, round(float(score), 4), image.image_id, annotation, category_id, box_xyxy)


def _logit(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    scores = np.clip(scores.astype(np.float64), 1e-4, 1 - 1e-4)
    return np.log(scores / (1 - scores))


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-values))
