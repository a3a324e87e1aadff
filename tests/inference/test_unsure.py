"""Which images the detector is least sure about."""

import pytest

from viadet.inference.unsure import least_sure, unsureness


def test_detections_in_the_middle_count_most_and_sure_ones_hardly():
    assert unsureness([]) == 0
    assert unsureness([0.5]) == 1
    assert unsureness([0.05]) == pytest.approx(unsureness([0.95])) == pytest.approx(0.01)
    assert unsureness([0.5, 0.3]) == pytest.approx(1 + 0.6**2)  # the sum of (1 - |2p - 1|) squared


def test_the_least_sure_come_first_and_equal_ones_in_order():
    assert least_sure([0.1, 3.0, 2.0, 3.0], 3) == [1, 3, 2]
    assert least_sure([0.1], 3) == [0]
