import numpy as np
import pytest

from viadet.images.polygons import polygon_area
from viadet.sample.balloons import MIN_VISIBLE, body_mask, place_balloons

CANVAS_WH = (160, 120)


@pytest.mark.parametrize("seed", range(12))
def test_enough_of_every_balloon_can_be_seen(seed):
    balloons = place_balloons(np.random.default_rng(seed), CANVAS_WH)
    covered = np.zeros(CANVAS_WH[::-1], bool)
    for balloon in reversed(balloons):  # from front to back
        body = body_mask(balloon, CANVAS_WH)
        assert (body & ~covered).sum() >= MIN_VISIBLE * polygon_area(balloon.outline())
        covered |= body
