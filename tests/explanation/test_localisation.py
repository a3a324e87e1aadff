"""The pointing game and the share of energy, on maps whose answer is known."""

import numpy as np
import pytest
import torch

from viadet.explanation.explained_boxes import ExplainedBox
from viadet.explanation.localisation import energy_share, masks_of, measure_localisation, points_inside
from viadet.explanation.maps import inside_box
from viadet.explanation.targets import Target
from viadet.images.letterbox import letterbox_of


def test_a_map_points_to_its_largest_value():
    mask = inside_box((10, 20), np.array([4, 2, 8, 5]))
    assert mask.sum() == 12
    heat = np.zeros((10, 20), dtype=np.float32)
    assert not points_inside(heat, mask)  # a map of zeros points nowhere
    heat[2, 4] = 1
    assert points_inside(heat, mask)
    heat[5, 8] = 2  # just outside of the corner
    assert not points_inside(heat, mask)


def test_energy_is_the_share_of_the_maps_sum():
    heat = np.ones((10, 20), dtype=np.float32)
    mask = inside_box((10, 20), np.array([0, 0, 4, 5]))
    assert energy_share(heat, mask) == pytest.approx(0.1)
    heat[5:] = 0
    assert energy_share(heat, mask) == pytest.approx(0.2)
    assert energy_share(heat * 0, mask) == 0


def test_negative_values_are_ignored():
    heat = np.array([[3.0, -9.0, 1.0]])
    masks = {"box": np.array([[True, True, False]])}
    assert measure_localisation(heat, masks) == {"pointing_box": 1, "energy_box": 0.75}


def test_a_false_positive_has_no_mask_of_a_polygon():
    polygon = torch.tensor([[0.0, 0], [10, 0], [10, 10], [0, 10]])
    right = ExplainedBox("right", np.array([0, 0, 10, 5]), polygon, 0.9, Target(None, 1, 1, "score"), [], ())
    masks = masks_of(right, letterbox_of(20, 10, (20, 20)))
    assert {name: mask.shape for name, mask in masks.items()} == {"box": (10, 20), "polygon": (10, 20)}
    assert [mask.sum() for mask in masks.values()] == [50, 100]
    assert list(masks_of(right._replace(kind="wrong", polygon=None), letterbox_of(20, 10, (20, 20)))) == ["box"]
