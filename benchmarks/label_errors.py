"""Known errors in annotations: putting them in, and telling which of them a suspect points at."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from pycocotools import mask

from benchmarks.two_classes import CLASSES, LabelledObject, Scene
from viadet.annotations.convert import DataSet
from viadet.review.suspects import HIT_IOU, Suspect

SHARES = {"dropped": 0.1, "shifted": 0.05, "swapped": 0.05}  # of all objects
SHIFT = 0.2  # of a box's sides, in any direction
SUSPECT_KINDS = {"dropped": "missing", "swapped": "class", "shifted": "loose"}  # under which each error is to be found


class LabelError(NamedTuple):
    """What is wrong in the annotation of one object."""

    kind: str  # one of SHARES
    image: int  # number of the scene
    object: int  # its number among the scene's objects
    shift_xy: tuple[float, float] = (0.0, 0.0)  # as shares of the box's width and height


class Judged(NamedTuple):
    """A suspect and what it is about."""

    suspect: Suspect
    image: int  # number of the scene
    error: LabelError | None  # None: there is none, or an earlier suspect points at it

    def finds(self, kind: str) -> bool:
        """Tell whether it points at an error of this kind and calls it so."""
        return self.error is not None and self.error.kind == kind and self.suspect.kind == SUSPECT_KINDS[kind]


def choose_errors(scenes: Sequence[Scene], generator: np.random.Generator) -> list[LabelError]:
    """Choose errors for SHARES of the objects, at most one for an object."""
    places = [(image, number) for image, scene in enumerate(scenes) for number in range(len(scene.objects))]
    order = [places[place] for place in generator.permutation(len(places))]
    errors = []
    for kind, share in SHARES.items():
        chosen, order = order[: round(share * len(places))], order[round(share * len(places)) :]
        for place in chosen:
            angle = generator.uniform(0, 2 * np.pi) if kind == "shifted" else None
            shift_xy = (0.0, 0.0) if angle is None else (SHIFT * np.cos(angle), SHIFT * np.sin(angle))
            errors.append(LabelError(kind, *place, shift_xy))
    return errors


def with_errors(scenes: Sequence[Scene], errors: Iterable[LabelError]) -> list[Scene]:
    """Give the scenes with objects as they are wrongly annotated."""
    by_place = {(error.image, error.object): error for error in errors}
    wrong = []
    for image, scene in enumerate(scenes):
        annotated = [_annotated(one, by_place.get((image, number))) for number, one in enumerate(scene.objects)]
        wrong.append(scene._replace(objects=[one for one in annotated if one is not None]))
    return wrong


def judge_suspects(
    suspects: Iterable[Suspect], data_set: DataSet, scenes: Sequence[Scene], errors: Iterable[LabelError]
) -> list[Judged]:
    """Find the error that each suspect points at.

    A suspect of an annotation points at the error of that annotation, whatever it calls it. A missing object is the
    dropped one in whose place it is, with an IoU of at least HIT_IOU.

    Args:
        suspects: of a review, the worst first.
        data_set: that was reviewed: all scenes, with the errors.
        scenes: as they are in truth.
        errors: in the annotations.
    """
    by_place = {(error.image, error.object): error for error in errors}
    found: set[LabelError] = set()
    judged = []
    for suspect in suspects:
        image = suspect.image_id - 1
        if suspect.annotation is None:
            error = _dropped_object_at(suspect, scenes[image], [e for e in by_place.values() if e.image == image])
        else:
            region = data_set.regions[scenes[image].file_name][suspect.annotation]
            numbers = range(len(scenes[image].objects))
            annotated = [n for n in numbers if (image, n) not in by_place or by_place[image, n].kind != "dropped"]
            error = by_place.get((image, annotated[region]))
        judged.append(Judged(suspect, image, None if error in found else error))
        found |= {error} - {None}
    return judged


def _annotated(labelled: LabelledObject, error: LabelError | None) -> LabelledObject | None:
    if error is None:
        return labelled
    if error.kind == "dropped":
        return None
    if error.kind == "swapped":
        return labelled._replace(category=next(name for name in CLASSES if name != labelled.category))
    sides_wh = labelled.polygon.max(0) - labelled.polygon.min(0)
    return labelled._replace(polygon=np.rint(labelled.polygon + sides_wh * error.shift_xy).astype(np.int64))


def _dropped_object_at(suspect: Suspect, scene: Scene, errors: Iterable[LabelError]) -> LabelError | None:
    dropped = [error for error in errors if error.kind == "dropped"]
    if not dropped:
        return None
    boxes_xyxy = np.array([suspect.box_xyxy, *(scene.objects[error.object].box_xyxy for error in dropped)])
    boxes_xywh = np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], 1)
    ious = np.asarray(mask.iou(boxes_xywh[:1], boxes_xywh[1:], [0] * len(dropped)))[0]
    return dropped[int(ious.argmax())] if ious.max() >= HIT_IOU else None
