"""When an exported file counts as equal to PyTorch."""

import numpy as np
import pytest
from viadet.network.boxes import MAX_DETECTIONS

from viadet.inference.export_check import ImageArrays, compare

BOXES = np.array([[10, 10, 50, 50], [12, 10, 52, 50], [100, 20, 140, 90]], np.float32)


def arrays(boxes=BOXES, scores=(0.9, 0.8, 0.41), labels=(1, 2, 1)):
    return ImageArrays(np.asarray(boxes), np.array(scores, np.float32), np.array(labels))


def test_small_differences_and_another_order_are_accepted_and_reported():
    result = arrays(BOXES[[1, 0, 2]] + 0.25, (0.8, 0.9005, 0.41), (2, 1, 1))
    assert compare(arrays(), result, 0.4) == pytest.approx((3, 0.25, 0.0005), abs=1e-6)


@pytest.mark.parametrize(
    "result",
    [
        arrays(BOXES + np.array([[0, 0, 0, 0.6], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32)),
        arrays(scores=(0.9, 0.802, 0.41)),
        arrays(labels=(1, 1, 1)),
        arrays(BOXES[:2], (0.9, 0.8), (1, 2)),
        arrays([*BOXES, [200, 0, 220, 9]], (0.9, 0.8, 0.41, 0.405), (1, 2, 1, 1)),
        arrays([*BOXES, BOXES[0]], (0.9, 0.8, 0.41, 0.9), (1, 2, 1, 1)),
    ],
    ids=["box", "score", "label", "missing", "additional", "twice"],
)
def test_other_detections_are_refused(result):
    with pytest.raises(ValueError, match="has a detection of score"):
        compare(arrays(), result, 0.4)


def test_a_score_at_the_threshold_may_be_there_or_not():
    at_threshold = arrays([*BOXES, [200, 0, 220, 9]], (0.9, 0.8, 0.41, 0.4005), (1, 2, 1, 1))
    assert compare(arrays(), at_threshold, 0.4).detections == 3
    assert compare(at_threshold, arrays(), 0.4).detections == 4


def test_of_equally_weak_detections_at_the_limit_either_may_be_kept():
    grid = np.array([[20 * place, 0, 20 * place + 9, 9] for place in range(MAX_DETECTIONS + 1)], np.float32)
    scores = np.linspace(0.9, 0.5, MAX_DETECTIONS)
    first = arrays(grid[:-1], scores, np.ones(MAX_DETECTIONS, int))
    other = arrays(np.delete(grid, -2, 0), scores, np.ones(MAX_DETECTIONS, int))
    assert compare(first, other, 0.4).detections == MAX_DETECTIONS


def test_nothing_equals_nothing():
    nothing = arrays(np.empty((0, 4), np.float32), (), ())
    assert compare(nothing, nothing, 0.4) == (0, 0.0, 0.0)
    with pytest.raises(ValueError, match=r"PyTorch has a detection of score 0\.9000 that the other lacks \(none\)"):
        compare(arrays(), nothing, 0.4)
