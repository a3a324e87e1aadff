"""The checks of maps, on networks whose answer is known and on the real one."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from viadet.explanation.faithfulness import FRACTIONS, deletion_insertion
from viadet.explanation.maps import centre_map, crop_cells, energy_share, inside_box, points_inside
from viadet.explanation.randomisation import randomised_networks, rank_correlation
from viadet.explanation.targets import ForwardPass, Target
from viadet.images.letterbox import letterbox_of
from viadet.network.boxes import flat_outputs
from viadet.network.build import build_network
from viadet.network.weights import load_network

CPU = torch.device("cpu")
FIRST = Target(torch.tensor([0]), 1, 0, "score")


class SeesASquare(nn.Module):
    """One cell with nine anchors, whose logit is the brightness of the square from (8, 4) to (12, 8)."""

    def forward(self, images):
        brightness = images[:, :, 4:8, 8:12].mean((1, 2, 3))
        return [brightness.view(-1, 1, 1, 1).expand(-1, 9, 1, 1)], [torch.zeros(len(images), 36, 1, 1)]


def passed(network):
    """A bright image of 20 x 20 px on its way through the network."""
    batch = torch.full((1, 3, 20, 20), 4.0)
    logits, codes = flat_outputs(*network(batch))
    return ForwardPass(batch, [], [], logits[0], codes[0])


def square_map(height=20, width=20):
    heat = np.zeros((height, width), dtype=np.float32)
    heat[4:8, 8:12] = 1
    return heat


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def test_deletion_and_insertion_take_and_show_the_pixels_that_the_map_ranks_highest():
    deletion, insertion = deletion_insertion(SeesASquare(), passed(SeesASquare()), square_map(), FIRST)
    # 2, 5, 10, 20, 40 % of 400 px: 8 of the square's 16 px, then all of them
    left = [sigmoid(4 * share) / sigmoid(4) for share in (0.5, 0, 0, 0, 0)]
    shown = [sigmoid(4 * share) / sigmoid(4) for share in (0.5, 1, 1, 1, 1)]
    assert deletion == pytest.approx(left)
    assert insertion == pytest.approx(shown)


def test_a_map_that_points_elsewhere_takes_nothing_away():
    deletion, insertion = deletion_insertion(SeesASquare(), passed(SeesASquare()), -square_map(), FIRST)
    assert deletion == pytest.approx([1] * len(FRACTIONS))
    assert insertion == pytest.approx([0.5 / sigmoid(4)] * len(FRACTIONS))


def test_pixels_count_within_the_photograph_and_the_letterbox_stays():
    """A photograph of 20 x 10 px in an input of 20 x 20: 5 % are 10 px of it."""
    seen = []

    class Remembers(SeesASquare):
        def forward(self, images):
            seen.append(images.clone())
            return super().forward(images)

    deletion_insertion(Remembers(), passed(SeesASquare()), square_map(10, 20), FIRST)
    (images,) = seen
    removed = (images[: len(FRACTIONS), 0] == 0).sum((1, 2)).tolist()
    assert removed == [4, 10, 20, 40, 80]
    assert (images[:, :, 10:] == 4).all()
    shown = (images[len(FRACTIONS) :, 0, :10] != 0).sum((1, 2)).tolist()
    assert shown == removed


def test_weights_become_random_from_the_heads_down_and_stay_so(model):
    network, spec = load_network(Path("data/model"), CPU, (128, 128))
    before = {name: values.clone() for name, values in network.state_dict().items()}
    changed_by_step, order = [], []
    for part, path, random_network in randomised_networks(network, spec, seed=1):
        order.append((part, path))
        state = random_network.state_dict()
        changed_by_step.append({name for name, values in state.items() if not torch.equal(values, before[name])})
    assert [part for part, _ in order] == sorted((part for part, _ in order), key=["heads", "neck", "backbone"].index)
    assert order[0] == ("heads", "heads")
    assert order[1] == ("neck", "fpn.cell.2")
    assert order[-1] == ("backbone", "backbone.conv_stem")
    assert all(name.startswith(("class_net.", "box_net.")) for name in changed_by_step[0])
    assert all(earlier <= later for earlier, later in pairwise(changed_by_step))
    weights = {name for name, values in before.items() if values.ndim == 4}
    assert weights <= changed_by_step[-1]
    # the network that was given is left alone
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())


def test_random_weights_come_from_the_seed(model):
    network, spec = load_network(Path("data/model"), CPU, (128, 128))
    last = [list(randomised_networks(network, spec, seed))[-1][2].state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(values, last[1][name]) for name, values in last[0].items())
    assert not torch.equal(last[0]["backbone.conv_stem.weight"], last[2]["backbone.conv_stem.weight"])
    # not what training starts from with that seed
    torch.manual_seed(1)
    assert not torch.equal(last[0]["backbone.conv_stem.weight"], build_network(spec).backbone.conv_stem.weight)


def test_ranks_are_compared():
    values = np.array([[1.0, 2], [3, 4]])
    assert rank_correlation(values, values**3) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    assert rank_correlation(values, values * 0) == 0


def test_a_map_points_to_its_largest_value():
    inside = inside_box((10, 20), np.array([4, 2, 8, 5]))
    assert inside.sum() == 12
    heat = np.zeros((10, 20), dtype=np.float32)
    assert not points_inside(heat, inside)  # a map of zeros points nowhere
    heat[2, 4] = 1
    assert points_inside(heat, inside)
    heat[5, 8] = 2  # just outside of the corner
    assert not points_inside(heat, inside)


def test_energy_is_the_share_of_the_maps_sum():
    heat = np.ones((10, 20), dtype=np.float32)
    inside = inside_box((10, 20), np.array([0, 0, 4, 5]))
    assert energy_share(heat, inside) == pytest.approx(0.1)
    heat[5:] = 0
    assert energy_share(heat, inside) == pytest.approx(0.2)
    assert energy_share(heat * 0, inside) == 0


def test_a_map_drawn_from_the_box_alone_ranks_its_middle_first_and_all_of_it_before_the_rest():
    box_xyxy = np.array([4, 2, 10, 5])
    heat = centre_map((10, 20), box_xyxy)
    inside = inside_box((10, 20), box_xyxy)
    assert heat[inside].min() >= heat[~inside].max()
    assert heat.argmax() in (3 * 20 + 6, 3 * 20 + 7)


def test_cells_beside_the_photograph_are_left_out():
    values = torch.arange(16.0).view(4, 4)
    # 100 x 60 px in an input of 128: 128 x 77 px, which touches three of the four rows
    assert crop_cells(values, letterbox_of(100, 60, (128, 128))).shape == (3, 4)
    assert crop_cells(values, letterbox_of(60, 100, (128, 128))).shape == (4, 3)
