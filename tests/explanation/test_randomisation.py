"""The networks of the check with random weights, and how maps are compared; the check itself is tested as a stage."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from viadet.explanation.randomisation import (
    keep_for_randomisation,
    randomisation_steps,
    randomised_networks,
    rank_correlation,
)
from viadet.network.build import build_network


def test_weights_become_random_from_the_heads_down_and_stay_so(network, spec):
    before = {name: values.clone() for name, values in network.state_dict().items()}
    changed_by_step = []
    for random_network in randomised_networks(network, spec, seed=1):
        state = random_network.state_dict()
        changed_by_step.append({name for name, values in state.items() if not torch.equal(values, before[name])})
    steps = randomisation_steps(network)
    assert len(changed_by_step) == len(steps)
    parts = [part for part, _ in steps]
    assert parts == sorted(parts, key=["heads", "neck", "backbone"].index)
    assert steps[0] == ("heads", "heads")
    assert steps[1] == ("neck", "fpn.cell.2")
    assert steps[-1] == ("backbone", "backbone.conv_stem")
    assert all(name.startswith(("class_net.", "box_net.")) for name in changed_by_step[0])
    for (_, path), (earlier, later) in zip(steps[1:], pairwise(changed_by_step), strict=True):
        assert earlier <= later
        assert all(name.startswith(path) for name in later - earlier)
    weights = {name for name, values in before.items() if values.ndim == 4}
    assert weights <= changed_by_step[-1]
    # the network that was given is left alone
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())


def test_random_weights_come_from_the_seed(network, spec):
    def last_stem(seed):
        *_, last = randomised_networks(network, spec, seed)
        return last.backbone.conv_stem.weight

    first, again, other = map(last_stem, (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    # not what training starts from with that seed
    torch.manual_seed(1)
    assert not torch.equal(first, build_network(spec).backbone.conv_stem.weight)


def test_ranks_are_compared():
    values = np.array([[1.0, 2], [3, 4]])
    assert rank_correlation(values, values**3) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    assert rank_correlation(values, values * 0) == 0


def test_of_an_image_only_detections_and_maps_at_their_own_level_are_kept(explained_image):
    levels = [box.target.level for box in explained_image.detections]
    coarse_maps = [{level: np.full((2, 2), level) for level in range(5)} for _ in levels]
    kept = keep_for_randomisation(explained_image, {"GradCAM": coarse_maps})
    assert [box.gradients for box in kept.detections] == [[] for _ in levels]
    assert [int(coarse_map[0, 0]) for coarse_map in kept.trained_maps["GradCAM"]] == levels
