"""Maps of an untrained network, against torch's own gradients and against grad-cam's own runs."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from projects import spec_of
from pytorch_grad_cam import ScoreCAM
from torch import nn
from torchvision.ops import box_iou

from viadet.explanation.cams import LIBRARY, cams
from viadet.explanation.channel_weights import ablated_values, masked_values
from viadet.explanation.targets import ForwardPass, Target, anchors_near, forward_pass, gradients_of
from viadet.images.letterbox import letterbox_image
from viadet.images.pixels import read_image
from viadet.network.boxes import anchors_of, flat_outputs
from viadet.network.build import build_network, level_names, prepare_images
from viadet.network.weights import load_network
from viadet.project.params import CamMethod

CPU = torch.device("cpu")
METHODS = get_args(CamMethod)


@pytest.fixture
def network(model):
    return load_network(Path("data/model"), CPU, (128, 128))[0]


@pytest.fixture
def passed(network) -> ForwardPass:
    spec = spec_of(128)
    image = letterbox_image(read_image(Path("data/raw/val/0000.jpg")), spec.input_wh, spec.fill_rgb)
    return forward_pass(network, prepare_images(image[None], spec, CPU))


def target_at(network, level, kind="score"):
    """A target at the middle of a level's anchors."""
    anchors = (anchors_of(network, CPU)[1] == level).nonzero().flatten()
    return Target(anchors[[len(anchors) // 2]], 1, level, kind)


def maps_of(method, network, passed, targets, **options):
    gradients = [gradients_of(passed, target) for target in targets]
    seeds = [(0, int(target.anchors[0])) for target in targets]
    return cams(method, network, passed, targets, gradients, seeds, **options)


class Logits(nn.Module):
    """The detector as grad-cam wants it: one tensor of class logits, [B, A, K]."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return flat_outputs(*self.network(images))[0]


def one_logit(target):
    return lambda logits: logits[target.anchors, 0].mean()


def test_every_method_that_params_allow_is_known():
    assert set(METHODS) == {*LIBRARY, "AblationCAM", "ScoreCAM"}


def test_the_pass_is_that_of_the_network(network, passed):
    with torch.inference_mode():
        logits, codes = flat_outputs(*network(passed.batch))
    torch.testing.assert_close(passed.logits, logits[0])
    torch.testing.assert_close(passed.codes, codes[0])


def test_gradients_end_at_the_level_that_made_the_box(network, passed):
    for made_at in range(5):
        reached = [gradient is not None for gradient in gradients_of(passed, target_at(network, made_at))]
        assert reached == [level <= made_at for level in range(5)]


def test_grad_cam_follows_its_formula(network, passed):
    """Against gradients taken by torch alone: the sum over channels of mean gradient times activation."""
    target = target_at(network, 2)
    (maps,) = maps_of("GradCAM", network, passed, [target])
    assert sorted(maps) == [0, 1, 2]
    leaf = passed.pyramid[2].detach().requires_grad_()
    logits, _ = flat_outputs(
        network.class_net([*passed.pyramid[:2], leaf, *passed.pyramid[3:]]), network.box_net(passed.pyramid)
    )
    gradient = torch.autograd.grad(logits[0, target.anchors[0], 0], leaf)[0]
    expected = (gradient.mean((2, 3), keepdim=True) * leaf).sum(1)[0].detach().numpy()
    np.testing.assert_allclose(maps[2], expected, rtol=1e-3, atol=np.abs(expected).max() * 1e-4)


@pytest.mark.parametrize("method", sorted(LIBRARY.keys() - {"RandomCAM"}))
def test_one_pass_for_all_boxes_gives_what_grad_cam_gives_for_each(network, passed, method):
    targets = [target_at(network, level) for level in (0, 1, 2)]
    together = maps_of(method, network, passed, targets)
    for target, maps in zip(targets, together, strict=True):
        layer = network.fpn.cell[-1].fnode[3 + target.level]
        with LIBRARY[method](Logits(network), [layer]) as cam:
            cam.uses_gradients = True  # EigenCAM has no need of them, the comparison below does
            cam(passed.batch, [one_logit(target)])
            seen = cam.activations_and_grads
            activations, gradients = seen.activations[0].numpy(), seen.gradients[0].numpy()
            expected = cam.get_cam_image(passed.batch, layer, [], activations, gradients, False)[0]
        np.testing.assert_allclose(maps[target.level], expected, rtol=1e-3, atol=np.abs(expected).max() * 1e-3)


def test_score_cam_weights_are_those_of_grad_cam(network, passed):
    targets = [target_at(network, 2), target_at(network, 3)]
    weights = masked_values(network, passed, targets, level=2)
    assert weights.shape == (2, 64)
    layer = network.fpn.cell[-1].fnode[5]
    for row, target in enumerate(targets):
        with ScoreCAM(Logits(network), [layer]) as cam:
            activations = passed.pyramid[2].detach().numpy()
            expected = cam.get_cam_weights(passed.batch, layer, [one_logit(target)], activations, None)[0]
        np.testing.assert_allclose(weights[row], expected, rtol=1e-3)


def test_ablation_weights_are_what_the_target_loses(network, passed):
    targets = [target_at(network, 1), target_at(network, 2)]
    weights = ablated_values(network, passed, targets, level=1)
    # channel 5 of P4 set to zero by hand: P5 is built from it, so both boxes may change
    handle = (
        network.fpn.cell[-1]
        .fnode[4]
        .register_forward_hook(lambda _module, _inputs, output: output * (torch.arange(64) != 5).view(1, 64, 1, 1))
    )
    with torch.inference_mode():
        ablated, _ = flat_outputs(*network(passed.batch))
    handle.remove()
    for row, target in enumerate(targets):
        lost = passed.logits.detach()[target.anchors[0], 0] - ablated[0, target.anchors[0], 0]
        assert lost != 0
        assert weights[row, 5] == pytest.approx(float(lost), rel=1e-2, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_boxes_explained_together_are_explained_as_if_alone(network, passed, method):
    targets = [target_at(network, level) for level in (1, 3)]
    together = maps_of(method, network, passed, targets)
    for target, maps in zip(targets, together, strict=True):
        (alone,) = maps_of(method, network, passed, [target])
        assert sorted(maps) == sorted(alone) == list(range(target.level + 1))
        for level, values in maps.items():
            assert values.shape == passed.pyramid[level].shape[2:]
            np.testing.assert_allclose(values, alone[level], rtol=1e-3, atol=np.abs(values).max() * 1e-3)
    (own,) = maps_of(method, network, passed, targets[1:], own_only=True)
    assert list(own) == [3]
    np.testing.assert_allclose(own[3], together[1][3], rtol=1e-3, atol=np.abs(own[3]).max() * 1e-3)


def test_random_maps_come_from_the_seed_alone(network, passed):
    target = target_at(network, 1)
    gradients = [gradients_of(passed, target)]
    first, again, other = (
        cams("RandomCAM", network, passed, [target], gradients, [seed])[0][1] for seed in ((0, 1), (0, 1), (0, 2))
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_target_is_the_score_the_regression_or_both():
    logits, codes = torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([[1.0, -2, 3, -4], [0, 0, 1, 1]])
    both_anchors, first = torch.tensor([0, 1]), torch.tensor([0])
    assert Target(both_anchors, 2, 0, "score").value(logits, codes) == 3
    assert Target(first, 1, 0, "box").value(logits, codes) == 10
    assert Target(both_anchors, 1, 0, "both").value(logits, codes) == 2 + 6


def test_each_kind_of_target_has_its_own_map(network, passed):
    maps = [maps_of("GradCAM", network, passed, [target_at(network, 1, kind)])[0][1] for kind in ("score", "box")]
    both = maps_of("GradCAM", network, passed, [target_at(network, 1, "both")])[0][1]
    assert not np.allclose(maps[0], maps[1])
    np.testing.assert_allclose(both, maps[0] + maps[1], rtol=1e-2, atol=np.abs(both).max() * 1e-3)


def test_anchors_near_a_box_are_those_that_training_assigns(network):
    anchors_yxyx, _ = anchors_of(network, CPU)
    box_xyxy = torch.tensor([30.0, 40, 80, 85])
    near = anchors_near(anchors_yxyx, box_xyxy)
    overlap = box_iou(anchors_yxyx[:, [1, 0, 3, 2]], box_xyxy[None])[:, 0]
    assert set(near.tolist()) == set((overlap >= 0.5).nonzero().flatten().tolist())
    assert near[0] == overlap.argmax()
    # a box far smaller than any anchor still has its nearest one
    assert len(anchors_near(anchors_yxyx, torch.tensor([60.0, 60, 63, 63]))) == 1


@pytest.mark.parametrize("method", ["GradCAM", "AblationCAM", "ScoreCAM"])
def test_the_network_is_left_as_it_was(network, passed, method):
    before = {name: values.clone() for name, values in network.state_dict().items()}
    maps_of(method, network, passed, [target_at(network, 1)])
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())


@pytest.mark.parametrize("name", ["tf_efficientdet_d7x", "efficientdet_q0"])
def test_networks_with_other_levels_or_another_neck_are_explained(name):
    torch.manual_seed(0)
    network = build_network(spec_of(256, name=name)).eval()
    assert level_names(network) == (["P3", "P4", "P5", "P6", "P7", "P8"][: 6 if "d7x" in name else 5])
    with torch.no_grad():
        passed = forward_pass(network, torch.randn(1, 3, 256, 256))
    assert len(passed.pyramid) == len(level_names(network))
