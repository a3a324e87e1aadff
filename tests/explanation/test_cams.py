"""Class activation maps of an untrained network, against torch's own gradients and against grad-cam's own runs."""

from typing import get_args

import numpy as np
import pytest
import pytorch_grad_cam as grad_cam
import torch

from viadet.explanation.cams import (
    CHANNEL_METHODS,
    EIGEN_METHODS,
    GRAD_CAM_METHODS,
    class_activation_maps,
    principal_map,
)
from viadet.explanation.explained_boxes import ExplainedBox
from viadet.explanation.targets import gradients_of
from viadet.network.anchors import flat_outputs
from viadet.project.params import CamMethod

METHODS = get_args(CamMethod)


@pytest.fixture
def box_at(forward_pass, target_at):
    """Makes a box at the middle of a level's anchors."""

    def make(level, output="score"):
        target = target_at(level, output)
        seed = (0, int(target.anchors[0]))
        return ExplainedBox("wrong", np.zeros(4), None, 0.5, target, gradients_of(forward_pass, target), seed)

    return make


def test_every_method_that_params_allow_is_known():
    assert set(METHODS) == {*GRAD_CAM_METHODS, *EIGEN_METHODS, *CHANNEL_METHODS}


def test_grad_cam_follows_its_formula(network, forward_pass, box_at):
    """Against gradients taken by torch alone: the sum over channels of mean gradient times activation."""
    box = box_at(2)
    (maps,) = class_activation_maps("GradCAM", network, forward_pass, [box])
    assert sorted(maps) == [0, 1, 2]
    pyramid = forward_pass.pyramid
    leaf = pyramid[2].detach().requires_grad_()
    logits, _ = flat_outputs(network.class_net([*pyramid[:2], leaf, *pyramid[3:]]), network.box_net(pyramid))
    gradient = torch.autograd.grad(logits[0, box.target.anchors[0], 0], leaf)[0]
    expected = (gradient.mean((2, 3), keepdim=True) * leaf).sum(1)[0].detach().numpy()
    np.testing.assert_allclose(maps[2], expected, rtol=1e-3, atol=np.abs(expected).max() * 1e-4)


@pytest.mark.parametrize("method", [*sorted(GRAD_CAM_METHODS.keys() - {"RandomCAM"}), *EIGEN_METHODS])
def test_one_forward_pass_for_all_boxes_gives_what_grad_cam_gives_for_each(
    network, class_logits, forward_pass, box_at, method
):
    boxes = [box_at(level) for level in (0, 1, 2)]
    for box, maps in zip(boxes, class_activation_maps(method, network, forward_pass, boxes), strict=True):
        target = box.target
        layer = network.fpn.cell[-1].fnode[3 + target.level]
        with (GRAD_CAM_METHODS.get(method) or getattr(grad_cam, method))(class_logits, [layer]) as cam:
            cam.uses_gradients = True  # EigenCAM does not need them, the comparison below does
            cam(forward_pass.batch, [lambda logits, target=target: logits[target.anchors, 0].mean()])
            network.zero_grad()
            activations = cam.activations_and_grads.activations[0].numpy()
            gradients = cam.activations_and_grads.gradients[0].numpy()
            expected = cam.get_cam_image(forward_pass.batch, layer, [], activations, gradients, False)[0]
        if method in EIGEN_METHODS:  # whose sign is that of a singular value decomposition
            expected = max(expected, -expected, key=np.max)
        np.testing.assert_allclose(maps[target.level], expected, rtol=1e-3, atol=np.abs(expected).max() * 1e-3)


@pytest.mark.parametrize("share_of_channels", [1.0, 0.5])  # that the spot raises; it lowers the others
def test_a_spot_is_positive_whatever_the_sign_of_the_decomposition(share_of_channels):
    for seed in range(40):
        generator = np.random.default_rng(seed)
        spot = np.zeros((12, 16))
        spot[4:7, 9:12] = 1
        strengths = generator.random(24) * np.where(np.arange(24) < 24 * share_of_channels, 1, -1)
        channels = strengths[:, None, None] * spot + 0.02 * generator.standard_normal((24, 12, 16))
        heat = principal_map(channels.astype(np.float32))
        assert heat[spot == 1].min() > np.abs(heat[spot == 0]).max()
        assert np.array_equal(heat, principal_map(-channels.astype(np.float32)))


@pytest.mark.parametrize("method", METHODS)
def test_boxes_explained_together_are_explained_as_if_alone(network, forward_pass, box_at, method):
    boxes = [box_at(1, "score"), box_at(1, "box")]
    together = class_activation_maps(method, network, forward_pass, boxes, own_level_only=True)
    (alone,) = class_activation_maps(method, network, forward_pass, boxes[1:], own_level_only=True)
    assert [list(maps) for maps in together] == [[1], [1]]
    assert alone[1].shape == forward_pass.pyramid[1].shape[2:]
    assert alone[1].dtype == np.float32
    np.testing.assert_allclose(together[1][1], alone[1], rtol=1e-3, atol=np.abs(alone[1]).max() * 1e-3)


def test_random_maps_come_from_the_seed_alone(network, forward_pass, box_at):
    box = box_at(1)
    boxes = [box._replace(seed=seed) for seed in ((0, 1), (0, 1), (0, 2))]
    first, again, other = (maps[1] for maps in class_activation_maps("RandomCAM", network, forward_pass, boxes))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_each_output_that_can_be_explained_has_its_own_map(network, forward_pass, box_at):
    boxes = [box_at(1, output) for output in ("score", "box", "both")]
    score, box, both = (maps[1] for maps in class_activation_maps("GradCAM", network, forward_pass, boxes))
    assert not np.allclose(score, box)
    np.testing.assert_allclose(both, score + box, rtol=1e-2, atol=np.abs(both).max() * 1e-3)


@pytest.mark.parametrize("method", ["GradCAM", "AblationCAM"])
def test_the_network_is_left_as_it_was(network, forward_pass, box_at, method):
    before = {name: values.clone() for name, values in network.state_dict().items()}
    class_activation_maps(method, network, forward_pass, [box_at(1)], own_level_only=True)
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
