"""The optimizer's groups, the frozen parts of the backbone, counts of batches and steps, the learning rate."""

import pytest
from projects import spec_of

from viadet.network.build import build_network
from viadet.project.errors import UserError
from viadet.project.params import read_recipe
from viadet.training.optimiser import Schedule, freeze, make_optimizer, make_schedule


@pytest.fixture(scope="module")
def network():
    """A network whose weights no test changes."""
    return build_network(spec_of(128))


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_biases_and_batch_norm_do_not_decay(project, network, name):
    params = read_recipe().train.model_copy(update={"optimizer": name, "weight_decay": 0.3})
    optimizer = make_optimizer(network, params)
    groups = optimizer.param_groups
    assert optimizer.defaults["fused"] == (True if name == "adamw" else None)
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


def test_the_learning_rate_rises_linearly_and_falls_along_a_cosine():
    schedule = Schedule(epochs=7, batch_size=4, batches_per_epoch=2, accumulate=1, warmup_steps=4)
    factors = [schedule.learning_rate_factor(step) for step in range(15)]
    assert schedule.steps == 14
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[9] == pytest.approx(0.5)  # half-way between step 4 and 14
    assert factors[14] == pytest.approx(0)


@pytest.mark.parametrize(
    ("images", "changes", "expected"),
    [
        # 6 images in batches of 4: one full batch an epoch, two are left out
        (6, {"batch_size": 4, "accumulate": 1}, (1, 1, 1, 4)),
        # 9 images in batches of 2: four batches, of which two make a step
        (9, {"batch_size": 2, "accumulate": 2}, (4, 2, 2, 8)),
        # five batches to a step are more than an epoch has
        (7, {"batch_size": 3, "accumulate": 5}, (2, 2, 1, 6)),
        # fewer images than a batch
        (3, {"batch_size": 8, "accumulate": 1}, (1, 1, 1, 3)),
    ],
)
def test_an_epoch_has_whole_batches_and_whole_steps(project, images, changes, expected):
    params = read_recipe().train.model_copy(update=changes | {"epochs": 5})
    schedule = make_schedule(images, params)
    counts = (schedule.batches_per_epoch, schedule.accumulate, schedule.steps_per_epoch, schedule.images_per_epoch)
    assert counts == expected
    assert schedule.steps == 5 * expected[2]
    assert schedule.images == 5 * expected[3]
