"""Inputs that are not square, and larger when detecting than in training, through all stages behind convert."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from projects import SMALL, read, write_params

from stages import evaluate, feature_maps, grad_cam, train, visualise
from viadet.network.boxes import anchors_of
from viadet.network.build import build_network, make_spec
from viadet.network.weights import load_network
from viadet.project.params import read_recipe

CPU = torch.device("cpu")
SIZES = {"model.image_size": [192, 128], "model.test_size": [256, 160], "model.anchor_scale": 3.0}


def test_every_stage_takes_inputs_that_are_not_square(sample):
    write_params(SMALL | SIZES)
    visualise.main()
    train.main()
    assert read("data/model/model.json")["input_wh"] == [192, 128]
    evaluate.main()
    feature_maps.main()
    grad_cam.main()
    for folder in ("plots/evaluate/images", "plots/feature_maps", "plots/grad_cam/images"):
        assert len(list(Path(folder).glob("val_*.jpg"))) == 3


def test_detecting_in_larger_inputs_only_changes_the_anchors(sample):
    write_params(SMALL | SIZES)
    train.main()
    (small, _), (large, spec) = (load_network(Path("data/model"), CPU, size) for size in ((192, 128), (256, 160)))
    assert spec.input_wh == (256, 160)
    for key, value in small.state_dict().items():
        assert torch.equal(value, large.state_dict()[key])
    anchors_yxyx, _ = anchors_of(large, CPU)
    centres_yx = (anchors_yxyx[:, :2] + anchors_yxyx[:, 2:]) / 2
    assert centres_yx.amax(0)[1] > 192
    assert centres_yx[: 20 * 32 * 9].amax(0).tolist() == [156, 252]  # P3: 20 x 32 cells of 8 px, the last centre at -4
    sides = (anchors_yxyx[:, 2:] - anchors_yxyx[:, :2])[0]
    assert sides.tolist() == pytest.approx([3.0 * 8, 3.0 * 8], rel=0.5)


def test_the_anchor_scale_is_that_of_the_smallest_anchor(project):
    write_params({"model.anchor_scale": 2.0})
    recipe = read_recipe()
    anchors_yxyx, levels = anchors_of(build_network(make_spec(recipe.model, ["balloon"])), CPU)
    areas = (anchors_yxyx[:, 2:] - anchors_yxyx[:, :2]).prod(1).sqrt()
    for level in range(5):
        assert float(areas[levels == level].min()) == pytest.approx(2.0 * 2 ** (3 + level), rel=0.02)


def test_pictures_keep_the_proportions_of_the_photograph(model):
    write_params(SMALL | {"model.test_size": [128, 192]})
    evaluate.main()
    feature_maps.main()
    with Image.open("plots/feature_maps/val_0000.jpg") as picture:
        assert picture.width > 100
