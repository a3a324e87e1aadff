"""The frozen part of the backbone computes what it did, to rounding, and stays as it is."""

import copy

import pytest
import torch
from projects import spec_of
from timm.layers import Conv2dSame
from torch import nn

from viadet.network.build import build_network
from viadet.project.params import read_recipe
from viadet.training.frozen import fold_batch_norms
from viadet.training.optimiser import freeze


def network_with_frozen_stages(name, stages):
    """A network in training, whose batch norms do something."""
    torch.manual_seed(0)
    network = build_network(spec_of(128, name=name)).train()
    for module in network.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    freeze(network, read_recipe().train.model_copy(update={"frozen_stages": stages, "freeze_batch_norm": True}))
    return network


# lite0 and d0 pad as TensorFlow does, q0 as PyTorch; the last one's first stages have other blocks
@pytest.mark.parametrize(
    "name", ["tf_efficientdet_lite0", "tf_efficientdet_d0", "efficientdet_q0", "efficientdetv2_dt"]
)
def test_folded_batch_norms_give_the_same_maps_and_leave_weights_and_random_state(project, name):
    network = network_with_frozen_stages(name, 4).double()  # rounding shall not hide a difference
    before = copy.deepcopy(network.state_dict())
    images, random_state = torch.randn(2, 3, 128, 192, dtype=torch.float64), torch.get_rng_state()
    expected = network.backbone(images)
    torch.set_rng_state(random_state)  # some have drop paths
    fold_batch_norms(network.backbone)
    fold_batch_norms(network.backbone)
    assert torch.equal(torch.get_rng_state(), random_state)
    maps = network.backbone(images)
    for one, other in zip(maps, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
    assert not all(torch.equal(one, other) for one, other in zip(maps, expected, strict=True))  # something was folded
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(values, before[key]) for key, values in after.items())


def test_only_the_frozen_stages_are_folded_and_none_copies_its_input_to_pad_it(project):
    network = network_with_frozen_stages("tf_efficientdet_lite0", 4)
    fold_batch_norms(network.backbone)
    changed = [(name, module) for name, module in network.backbone.named_modules() if "forward" in vars(module)]
    assert {name.split(".")[1] for name, _ in changed if "blocks." in name} == {"0", "1", "2", "3"}
    folded = [module.forward.__self__ for _, module in changed if isinstance(module, nn.Conv2d)]
    assert folded
    assert not any(isinstance(convolution, Conv2dSame) for convolution in folded)
