"""When an exported file counts as equal to PyTorch."""

import numpy as np
import pytest

from viadet.detection.detections import Detections
from viadet.inference.export_check import compare

LIMIT = 20
BOXES = np.array([[10, 10, 50, 50], [12, 10, 52, 50], [100, 20, 140, 90]], np.float32)


def detections_of(boxes=BOXES, scores=(0.9, 0.8, 0.41), labels=(1, 2, 1)):
    order = np.argsort(-np.array(scores), kind="stable")
    boxes_xyxy = np.asarray(boxes, np.float32).reshape(-1, 4)
    return Detections(boxes_xyxy[order], np.array(scores, np.float32)[order], np.array(labels, np.int64)[order])


def test_small_differences_and_another_order_are_accepted_and_reported():
    result = detections_of(BOXES[[1, 0, 2]] + 0.25, (0.8, 0.9005, 0.41), (2, 1, 1))
    assert compare(detections_of(), result, 0.4, LIMIT) == pytest.approx((3, 0.25, 0.0005), abs=1e-6)


@pytest.mark.parametrize(
    "result",
    [
        detections_of(BOXES + np.array([[0, 0, 0, 0.6], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32)),
        detections_of(scores=(0.9, 0.802, 0.41)),
        detections_of(labels=(1, 1, 1)),
        detections_of(BOXES[:2], (0.9, 0.8), (1, 2)),
        detections_of([*BOXES, [200, 0, 220, 9]], (0.9, 0.8, 0.41, 0.405), (1, 2, 1, 1)),
        detections_of([*BOXES, BOXES[0]], (0.9, 0.8, 0.41, 0.9), (1, 2, 1, 1)),
    ],
    ids=["box", "score", "label", "missing", "additional", "twice"],
)
def test_other_detections_are_refused(result):
    with pytest.raises(ValueError, match="has a detection of score"):
        compare(detections_of(), result, 0.4, LIMIT)


def test_a_score_at_the_threshold_may_be_there_or_not():
    at_threshold = detections_of([*BOXES, [200, 0, 220, 9]], (0.9, 0.8, 0.41, 0.4005), (1, 2, 1, 1))
    assert compare(detections_of(), at_threshold, 0.4, LIMIT).detections == 3
    assert compare(at_threshold, detections_of(), 0.4, LIMIT).detections == 4


def test_of_equally_weak_detections_at_the_limit_either_may_be_kept():
    grid = np.array([[20 * place, 0, 20 * place + 9, 9] for place in range(LIMIT + 1)], np.float32)
    scores = np.linspace(0.9, 0.5, LIMIT)
    first = detections_of(grid[:-1], scores, np.ones(LIMIT, int))
    other = detections_of(np.delete(grid, -2, 0), scores, np.ones(LIMIT, int))
    assert compare(first, other, 0.4, LIMIT).detections == LIMIT


def test_nothing_equals_nothing():
    nothing = detections_of(np.empty((0, 4), np.float32), (), ())
    assert compare(nothing, nothing, 0.4, LIMIT) == (0, 0.0, 0.0)
    with pytest.raises(ValueError, match=r"PyTorch has a detection of score 0\.9000 that the other lacks \(none\)"):
        compare(detections_of(), nothing, 0.4, LIMIT)
