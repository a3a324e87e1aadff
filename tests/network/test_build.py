"""Describing and building a network, and its input."""

import pytest
import torch
from effdet.config.model_config import efficientdet_model_param_dict
from effdet.data import resolve_input_config
from projects import spec_of

from viadet.network.anchors import anchors_of, flat_outputs
from viadet.network.build import (
    Normalisation,
    backbone_normalisation,
    build_network,
    colour_constant,
    detector_normalisation,
    effdet_config,
    level_names,
    prepare_images,
)
from viadet.project.errors import UserError

CPU = torch.device("cpu")


def test_a_network_has_the_sizes_and_classes_of_its_spec():
    network = build_network(spec_of([192, 128], ["balloon", "kite"]))
    class_out, box_out = network.eval()(torch.zeros(1, 3, 128, 192))
    assert level_names(network) == ["P3", "P4", "P5", "P6", "P7"]
    assert [tuple(level.shape) for level in class_out] == [(1, 9 * 2, 128 // s, 192 // s) for s in (8, 16, 32)] + [
        (1, 9 * 2, 2, 3),
        (1, 9 * 2, 1, 2),
    ]
    assert [level.shape[1] for level in box_out] == [9 * 4] * 5


def test_the_same_seed_builds_the_same_weights():
    def weights(seed):
        torch.manual_seed(seed)
        return build_network(spec_of(128)).state_dict()

    first, again, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert not torch.equal(first["fpn.resample.3.conv.conv.weight"], other["fpn.resample.3.conv.conv.weight"])


def test_an_unknown_network_is_an_error_that_names_it():
    with pytest.raises(UserError, match=r"model\.name is 'yolo': effdet has no such network"):
        spec_of(256, name="yolo")


def test_the_networks_with_similar_names_are_told():
    with pytest.raises(UserError, match=r"it has for example tf_efficientdet_lite1, tf_efficientdet_"):
        spec_of(256, name="tf_efficientdt_lite1")


def test_weights_of_detectors_and_of_backbones_have_each_their_own_normalisation():
    """Of all networks that effdet has COCO weights for, against what effdet itself would normalise with."""
    differing = set()
    for name, params in efficientdet_model_param_dict.items():
        if params.get("url"):
            expected = resolve_input_config({}, effdet_config(name))
            assert detector_normalisation(name) == Normalisation(list(expected["mean"]), list(expected["std"]))
            if detector_normalisation(name) != backbone_normalisation(name):
                differing.add(name)
    assert differing == {f"tf_efficientdet_d{size}_ap" for size in range(6)} | {"efficientdet_d1", "efficientdet_q1"}
    # timm's own: noisy student's photographs by ImageNet's mean, lite's by a half, and of one b1 too
    assert backbone_normalisation("tf_efficientdet_d0_ap").mean == [0.485, 0.456, 0.406]
    assert backbone_normalisation("tf_efficientdet_lite1").mean == [0.5] * 3
    assert backbone_normalisation("efficientdet_d1").mean == [0.5] * 3


@pytest.mark.parametrize("name", ["efficientdet_d0", "tf_efficientdet_d7x"])
@pytest.mark.parametrize("input_wh", [(512, 128), (32, 160)])
def test_a_network_has_as_many_outputs_as_anchors_in_small_inputs(name, input_wh):
    """A map of one row is halved along its columns only; in d7x, the largest stride is 256 px."""
    with torch.device("meta"):  # sizes only
        network = build_network(spec_of(128, name=name)._replace(input_wh=input_wh))
        logits, _ = flat_outputs(*network.eval()(torch.zeros(1, 3, *input_wh[::-1])))
    assert logits.shape[1] == len(anchors_of(network, CPU)[0])


def test_images_are_normalised_with_the_fill_colour_at_zero():
    spec = spec_of(256)
    fill = torch.tensor(spec.fill_rgb, dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert prepare_images(fill, spec, CPU).abs().max() < 0.01
    white = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    torch.testing.assert_close(prepare_images(white, spec, CPU), torch.ones(1, 3, 4, 4))  # (255 - 127.5) / 127.5
    of_imagenet = prepare_images(white, spec_of(256, name="tf_efficientdet_d0"), CPU)  # mean and deviation differ
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert of_imagenet[0, :, 0, 0].tolist() == pytest.approx(expected, abs=1e-5)


def test_mean_and_deviation_are_moved_to_the_device_once_and_serve_training_after_a_detection():
    spec = spec_of(128)
    with torch.inference_mode():
        first = colour_constant(tuple(spec.std), CPU)
    assert colour_constant(tuple(spec.std), CPU) is first
    images = torch.ones(1, 3, 2, 2, requires_grad=True)
    (images / first).sum().backward()  # an inference tensor can't take part in this
