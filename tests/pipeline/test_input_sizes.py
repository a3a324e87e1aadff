"""All stages behind convert with inputs that are not square, and larger when detecting than in training."""

from pathlib import Path

import pytest
from projects import SMALL, read, write_params

from stages import evaluate, feature_maps, grad_cam, train, visualise

SIZES = {"model.image_size": [192, 128], "model.test_size": [256, 160], "model.anchor_scale": 3.0}


@pytest.mark.slow
def test_every_stage_accepts_inputs_that_are_not_square(sample):
    write_params(SMALL | SIZES)
    for stage in (visualise, train, evaluate, feature_maps, grad_cam):
        stage.main()
    assert read("data/model/model.json")["input_wh"] == [192, 128]
    for folder in ("plots/evaluate/images", "plots/feature_maps", "plots/grad_cam/images"):
        assert len(list(Path(folder).glob("val_*.jpg"))) == 3
