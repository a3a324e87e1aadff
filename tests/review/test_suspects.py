"""Suspects by kind, with scores that follow from the detections; all detections but the ones in question are right."""

import numpy as np
import pytest
from projects import found

from viadet.review.suspects import KINDS, find_suspects, fit_logistic

SIZE = 40.0
CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


def box(x: float, y: float = 0.0, size: float = SIZE) -> list[float]:
    return [x, y, size, size]


def data_set(*images: tuple[list, list]) -> tuple[dict, dict]:
    """Images with (category, xywh) of each annotation and (category, xywh, score) of each detection, among good ones.

    The good ones teach that detections of 0.9 hit and those of 0.1 don't, and that all objects are found.
    """
    good = [([(1, box(0)), (2, box(100))], [(1, box(0), 0.9), (2, box(100), 0.9), (1, box(300), 0.1)])] * 30
    images = (*images, *good)
    annotations, results = [], []
    for image_id, (objects, detections) in enumerate(images, start=1):
        for category_id, xywh in objects:
            entry = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category_id, "bbox": xywh}
            annotations.append(entry | {"area": xywh[2] * xywh[3]})
        for category_id, xywh, score in detections:
            results.append({"image_id": image_id, "category_id": category_id, "bbox": xywh, "score": score})
    entries = [{"id": number} for number in range(1, len(images) + 1)]
    return {"images": entries, "annotations": annotations, "categories": CATEGORIES}, found(results)


def suspects_in_first(*image: list) -> list[tuple]:
    suspects = find_suspects(*data_set(image))
    return [suspect[:5] for suspect in suspects if suspect.image_id == 1 and suspect.score > 0.1]


GOOD = (1, box(200))
SEEN = (1, box(200), 0.9)


@pytest.mark.parametrize(
    ("objects", "detections", "kind", "least", "most", "annotation", "category_id"),
    [
        ([GOOD], [SEEN, (2, box(400), 0.9)], "missing", 0.85, 1, None, 2),
        ([GOOD, (2, box(400))], [SEEN], "spurious", 0.85, 1, 1, None),
        ([(2, box(200))], [SEEN], "class", 0.85, 1, 0, 1),
        ([(1, box(210))], [SEEN], "loose", 0.3, 0.4, 0, 1),  # an IoU of 0.6
        ([(1, box(225))], [SEEN], "missing", 0.6, 0.8, None, 1),  # an IoU of 0.23: another object
        ([GOOD, (1, box(204))], [SEEN], "double", 0.85, 1, 1, None),
    ],
)
def test_each_kind_is_found_with_the_change_that_it_would_be(
    objects, detections, kind, least, most, annotation, category_id
):
    first, *others = (
        suspects_in_first(objects, detections)
        if kind != "missing"
        else sorted(suspects_in_first(objects, detections), key=lambda suspect: suspect[0] != "missing")
    )
    assert (first[0], first[3], first[4]) == (kind, annotation, category_id)
    assert least <= first[1] <= most
    assert all(other[0] == "spurious" for other in others)  # beside another object that is missing
    assert kind in KINDS


def test_what_is_right_is_no_suspect_and_the_unsure_is_less_of_one():
    assert suspects_in_first([GOOD], [SEEN]) == []
    assert suspects_in_first([GOOD], [SEEN, (1, box(400), 0.1)]) == []
    sure, unsure = (find_suspects(*data_set(([], [(1, box(400), score)])))[0].score for score in (0.9, 0.5))
    assert sure > 0.8 > unsure > 0


def test_an_annotation_is_one_suspect_at_most_and_two_detections_of_one_object_are_one_missing():
    kinds = [suspect[0] for suspect in suspects_in_first([(2, box(210))], [(1, box(200), 0.9)])]
    assert kinds == ["class"]
    kinds = [suspect[0] for suspect in suspects_in_first([], [(1, box(200), 0.9), (2, box(202), 0.8)])]
    assert kinds == ["missing"]


def test_a_missed_object_of_a_size_that_is_rarely_found_is_hardly_a_suspect():
    small = [([(1, box(500, size=4))], [])] * 30
    suspects = find_suspects(*data_set(([(1, box(400))], []), *small))
    large, *others = [suspect for suspect in suspects if suspect.kind == "spurious"]
    assert large.image_id == 1 and large.score > 0.8
    assert all(suspect.score < 0.2 for suspect in others)


def test_an_image_without_annotations_and_detections_has_no_suspect():
    empty = {"images": [{"id": 1}], "annotations": [], "categories": CATEGORIES}
    assert find_suspects(empty, {}) == []


def test_the_fit_finds_the_curve_that_made_the_outcomes():
    values = np.linspace(-3, 3, 4000)
    truth = 1 / (1 + np.exp(-(0.5 + 1.5 * values)))
    outcomes = np.random.default_rng(0).random(4000) < truth
    assert np.abs(fit_logistic(values, outcomes)(values) - truth).max() < 0.05
    assert (fit_logistic(values, np.ones(4000, bool))(values) > 0.99).all()  # all hit: finite all the same
