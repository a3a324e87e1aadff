"""Weights of AblationCAM and ScoreCAM, against a channel set to zero by hand and against grad-cam's own."""

import pytest
import torch
from projects import spec_of
from pytorch_grad_cam import ScoreCAM

from viadet.explanation.channel_weights import ablation_weights, score_weights
from viadet.explanation.targets import run_forward
from viadet.network.anchors import flat_outputs
from viadet.network.build import build_network


def test_ablation_weights_are_what_the_target_loses(network, forward_pass, target_at):
    targets = [target_at(1), target_at(2)]
    weights = ablation_weights(network, forward_pass, targets, level=1)
    assert weights.shape == (2, 64)

    # channel 5 of P4 set to zero by hand: P5 is built from it, so both boxes may change
    def ablate(_module, _inputs, output):
        return output * (torch.arange(64) != 5).view(1, 64, 1, 1)

    with network.fpn.cell[-1].fnode[4].register_forward_hook(ablate), torch.inference_mode():
        ablated, _ = flat_outputs(*network(forward_pass.batch))
    for row, target in enumerate(targets):
        lost = forward_pass.logits.detach()[target.anchors[0], 0] - ablated[0, target.anchors[0], 0]
        assert lost != 0
        assert weights[row, 5] == pytest.approx(float(lost), rel=1e-2, abs=1e-6)


def test_ablation_finds_the_levels_of_a_neck_that_is_no_bifpn(target_at):
    torch.manual_seed(0)
    network = build_network(spec_of(128, name="efficientdet_q0")).eval()
    forward_pass = run_forward(network, torch.randn(1, 3, 128, 128))
    for level in (0, 4):
        weights = ablation_weights(network, forward_pass, [target_at(level, "box")], level)
        assert weights.shape == (1, forward_pass.pyramid[level].shape[1])
        assert weights.any()


def test_score_weights_are_those_of_grad_cam(network, class_logits, forward_pass, target_at):
    targets = [target_at(2), target_at(3)]
    weights = score_weights(network, forward_pass, targets, level=2)
    assert weights.shape == (2, 64)
    layer = network.fpn.cell[-1].fnode[5]
    activations = forward_pass.pyramid[2].detach().numpy()
    with ScoreCAM(class_logits, [layer]) as cam:
        target_values = [lambda logits: logits[targets[1].anchors, 0].mean()]
        expected = cam.get_cam_weights(forward_pass.batch, layer, target_values, activations, None)[0]
    assert weights[1] == pytest.approx(expected, rel=1e-3)
    assert weights[0] != pytest.approx(expected, rel=1e-3)
