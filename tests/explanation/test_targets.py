"""Targets and their gradients, of an untrained network."""

import pytest
import torch
from projects import spec_of
from torchvision.ops import box_iou

from viadet.explanation.targets import Target, gradients_of, nearest_anchors, run_forward
from viadet.network.anchors import anchors_of, flat_outputs
from viadet.network.build import build_network, level_names

CPU = torch.device("cpu")


def test_outputs_of_the_forward_pass_are_those_of_the_network(network, forward_pass):
    with torch.inference_mode():
        logits, codes = flat_outputs(*network(forward_pass.batch))
    torch.testing.assert_close(forward_pass.logits, logits[0])
    torch.testing.assert_close(forward_pass.codes, codes[0])


@pytest.mark.slow
def test_a_network_with_six_levels_has_a_pyramid_of_six():
    """tf_efficientdet_d7x, too large for a test of the stage, has P8 as well."""
    network = build_network(spec_of(256, name="tf_efficientdet_d7x")).eval()
    assert level_names(network) == ["P3", "P4", "P5", "P6", "P7", "P8"]
    with torch.no_grad():
        assert len(run_forward(network, torch.zeros(1, 3, 256, 256)).pyramid) == 6


def test_gradients_end_at_the_level_that_made_the_box(forward_pass, target_at):
    for made_at in range(5):
        has_gradients = [gradient is not None for gradient in gradients_of(forward_pass, target_at(made_at))]
        assert has_gradients == [level <= made_at for level in range(5)]


def test_a_target_is_the_score_the_regression_or_both():
    logits, codes = torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([[1.0, -2, 3, -4], [0, 0, 1, 1]])
    both_anchors, first = torch.tensor([0, 1]), torch.tensor([0])
    assert Target(both_anchors, 2, 0, "score").value(logits, codes) == 3
    assert Target(first, 1, 0, "box").value(logits, codes) == 10
    assert Target(both_anchors, 1, 0, "both").value(logits, codes) == 2 + 6


def test_the_nearest_anchors_of_a_box_are_those_that_training_assigns(network):
    anchors_yxyx, _ = anchors_of(network, CPU)
    box_xyxy = torch.tensor([30.0, 40, 80, 85])
    nearest = nearest_anchors(anchors_yxyx, box_xyxy)
    overlap = box_iou(anchors_yxyx[:, [1, 0, 3, 2]], box_xyxy[None])[:, 0]
    assert set(nearest.tolist()) == set((overlap >= 0.5).nonzero().flatten().tolist())
    assert nearest[0] == overlap.argmax()
    # a box far smaller than any anchor still has its nearest one
    assert len(nearest_anchors(anchors_yxyx, torch.tensor([60.0, 60, 63, 63]))) == 1
