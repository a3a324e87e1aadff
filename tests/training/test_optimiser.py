"""The optimizer's groups and the frozen parts of the backbone."""

import pytest
from projects import spec_of

from viadet.network.build import build_network
from viadet.project.errors import UserError
from viadet.project.params import read_recipe
from viadet.training.optimiser import freeze, make_optimizer


@pytest.fixture(scope="module")
def network():
    """A network whose weights no test changes."""
    return build_network(spec_of(128))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_biases_and_batch_norm_do_not_decay(project, network, optimizer):
    params = read_recipe().train.model_copy(update={"optimizer": optimizer, "weight_decay": 0.3})
    optimizer = make_optimizer(network, params)
    groups = optimizer.param_groups
    assert not optimizer.defaults["fused"]  # on a CPU other bytes; on CUDA one kernel
    decaying = [parameter for group in groups if group["weight_decay"] == 0.3 for parameter in group["params"]]
    still = [parameter for group in groups if group["weight_decay"] == 0 for parameter in group["params"]]
    assert decaying
    assert all(parameter.ndim > 1 for parameter in decaying)
    assert all(parameter.ndim <= 1 for parameter in still)


def test_more_frozen_stages_than_there_are_is_an_error(project, network):
    params = read_recipe().train.model_copy(update={"frozen_stages": 9})
    with pytest.raises(UserError, match=r"train\.frozen_stages is 9, but the backbone has 7 blocks"):
        freeze(network, params)


def test_a_resnet_backbone_freezes_its_batch_norms_but_has_no_blocks(project):
    network = build_network(spec_of(128, name="resdet50"))
    params = read_recipe().train.model_copy(update={"freeze_batch_norm": True})
    network.train()
    freeze(network, params)
    assert not network.backbone.bn1.training
    assert network.fpn.training
    with pytest.raises(UserError, match=r"train\.frozen_stages is 1, but the backbone has 0 blocks"):
        freeze(network, params.model_copy(update={"frozen_stages": 1}))


def test_the_backbone_learns_at_its_own_rate(project, network):
    params = read_recipe().train.model_copy(update={"lr": 0.4, "backbone_lr": 0.25})
    groups = make_optimizer(network, params).param_groups
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    for name, parameter in network.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.1 if name.startswith("backbone.") else 0.4)
