"""What is measured of a detection's maps, at which level; pointing and energy on maps whose answer is known."""

from collections import defaultdict

import numpy as np
import pytest
import torch

from viadet.explanation.cams import class_activation_maps
from viadet.explanation.explained_boxes import ExplainedBox, ExplainedImage
from viadet.explanation.maps import inside_box
from viadet.explanation.measurements import (
    add_localisation,
    energy_share,
    evenly_spread,
    masks_of,
    measure_image,
    points_inside,
)
from viadet.explanation.perturbation import CURVES, FRACTIONS
from viadet.explanation.targets import Target
from viadet.images.letterbox import InputImage, letterbox_of

LEVELS = ["P3", "P4", "P5", "P6", "P7"]


@pytest.mark.parametrize(
    ("count", "limit", "chosen"),
    [
        (5, None, [0, 1, 2, 3, 4]),
        (5, 5, [0, 1, 2, 3, 4]),
        (5, 9, [0, 1, 2, 3, 4]),
        (5, 2, [0, 2]),
        (10, 4, [0, 2, 5, 7]),
        (0, 3, []),
    ],
)
def test_measured_images_are_spread_evenly(count, limit, chosen):
    assert evenly_spread(count, limit) == chosen


def measured(network, image, coarse_maps, with_perturbation=False):
    measurements = defaultdict(list)
    measure_image(measurements, network, image, coarse_maps, LEVELS, with_perturbation)
    return dict(measurements)


def test_maps_are_measured_by_level_at_the_own_level_and_in_sum():
    """A photograph of 20 x 10 px in an input of 20 x 20, with maps of cells of 5 px that are 0 but for one or two."""
    input_image = InputImage(torch.zeros(3, 20, 20), letterbox_of(20, 10, (20, 20)))
    box_xyxy, polygon = np.array([0, 0, 10, 10]), torch.tensor([[0.0, 0], [5, 0], [5, 10], [0, 10]])
    right = ExplainedBox("right", box_xyxy, polygon, 0.9, Target(torch.tensor([0]), 1, 1, "score"), [], (0,))
    wrong = right._replace(kind="wrong", polygon=None)
    image = ExplainedImage(input_image, None, [right, wrong], [])
    in_polygon, in_box, outside = (np.full((20, 20), -1.0, dtype=np.float32) for _ in range(3))
    in_polygon[3, 2], in_box[3, 7], outside[3, 15] = 1, 2, 5
    values = measured(None, image, {"GradCAM": [{0: in_polygon, 1: in_box}, {0: outside, 1: outside}]})
    assert values["chance", "own", "box"] == [0.5, 0.5]
    assert values["chance", "own", "polygon"] == [0.25]  # the false positive has none
    assert values["GradCAM", "P3", "pointing_box"] == [1, 0]
    assert values["GradCAM", "P3", "pointing_polygon"] == [1]
    assert values["GradCAM", "own", "pointing_box"] == values["GradCAM", "P4", "pointing_box"] == [1, 0]
    assert values["GradCAM", "own", "pointing_polygon"] == [0]
    # 1 in the polygon and 2 beside it; negative values do not count
    assert values["GradCAM", "sum", "energy_polygon"] == pytest.approx([1 / 3])
    assert values["GradCAM", "sum", "energy_box"] == [1, 0]
    assert {key[1] for key in values} == {"own", "sum", "P3", "P4"}  # no level that does not contribute


def test_deletion_and_insertion_are_measured_for_each_fraction_of_pixels(network, explained_image):
    image = explained_image._replace(detections=explained_image.detections[:2])
    maps = class_activation_maps("HiResCAM", network, image.forward_pass, image.detections)
    values = measured(network, image, {"HiResCAM": maps}, with_perturbation=True)
    for method in ("HiResCAM", "BoxCentre"):
        for curve in CURVES:
            shares = np.array(values[method, curve])
            assert shares.shape == (2, len(FRACTIONS))
            assert (shares > 0).all() and (shares < 10).all()
    assert not any(key[0] == "BoxCentre" and key[1] not in CURVES for key in values)
    without = measured(network, image, {"HiResCAM": maps})
    assert values.keys() - without.keys() == {key for key in values if key[1] in CURVES}


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
    measurements = defaultdict(list)
    heat = np.array([[3.0, -9.0, 1.0]])
    add_localisation(measurements, ("GradCAM", "own"), heat, {"box": np.array([[True, True, False]])})
    assert measurements == {("GradCAM", "own", "pointing_box"): [1], ("GradCAM", "own", "energy_box"): [0.75]}


def test_a_false_positive_has_no_mask_of_a_polygon():
    polygon = torch.tensor([[0.0, 0], [10, 0], [10, 10], [0, 10]])
    right = ExplainedBox("right", np.array([0, 0, 10, 5]), polygon, 0.9, Target(None, 1, 1, "score"), [], ())
    masks = masks_of(right, letterbox_of(20, 10, (20, 20)))
    assert {name: mask.shape for name, mask in masks.items()} == {"box": (10, 20), "polygon": (10, 20)}
    assert [mask.sum() for mask in masks.values()] == [50, 100]
    assert list(masks_of(right._replace(kind="wrong", polygon=None), letterbox_of(20, 10, (20, 20)))) == ["box"]
