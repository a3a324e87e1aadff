"""Training of the small sample in this process: what moves, what is accumulated, what stops it."""

import copy
import math
import shutil
from pathlib import Path

import pytest
import torch
from effdet import DetBenchTrain
from projects import read, spec_of

from viadet.augmentation.training_set import TrainingSet, collate, epoch_batches
from viadet.evaluation.coco_metrics import coco_stats, run_cocoeval
from viadet.network.build import build_network, prepare_images
from viadet.network.detect import detect_coco
from viadet.project.errors import UserError
from viadet.project.params import read_recipe
from viadet.training.checkpoint import Checkpoints
from viadet.training.loop import check_finite, train

CPU = torch.device("cpu")


def train_small(changes=None, size=128, network=None, validate=None):
    """Train on the sample in the current folder.

    Returns:
        The network's start, the trained network, the averaged one, and the history.
    """
    params = read_recipe().train.model_copy(update=changes or {})
    spec, val_coco = spec_of(size), read("data/coco/val.json")
    if network is None:
        torch.manual_seed(0)
        network = build_network(spec)
    start = copy.deepcopy(network)
    images = TrainingSet(Path("data/coco/train.json"), Path("data/raw"), params, spec.input_wh, (128,) * 3)

    def measure(average):
        return coco_stats(run_cocoeval(val_coco, detect_coco(average, spec, val_coco, Path("data/raw"), CPU)))

    checkpoints = Checkpoints(Path("data/checkpoint"), "key")
    average, history = train(network, spec, images, params, CPU, validate or measure, checkpoints)
    return start, network, average, history


def test_the_average_moves_slower_than_the_weights(sample):
    start, network, average, history = train_small({"ema_decay": 0.9})
    first, last, averaged = (one.backbone.conv_stem.weight for one in (start, network, average))
    assert 0 < (averaged - first).norm() < (last - first).norm()
    assert [row["epoch"] for row in history.losses] == [1, 2]
    assert [row["epoch"] for row in history.aps] == [2]


def test_frozen_stages_and_batch_norms_stay_and_the_rest_moves(sample):
    changes = {"frozen_stages": 2, "freeze_batch_norm": True, "backbone_lr": 0.5, "accumulate": 2, "batch_size": 2}
    start, network, _, history = train_small(changes, size=[192, 128])
    assert (history.steps, history.images) == (2, 8)  # 6 images: one step of two batches of two an epoch
    before = start.state_dict()
    moved = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    norms = {name for name, module in network.backbone.named_modules() if isinstance(module, torch.nn.BatchNorm2d)}
    early = ("backbone.conv_stem.", "backbone.bn1.", "backbone.blocks.0.", "backbone.blocks.1.")
    assert not [key for key in moved if key.startswith(early)]
    assert not [key for key in moved if key.removeprefix("backbone.").rpartition(".")[0] in norms]
    assert "backbone.blocks.3.0.conv_pw.weight" in moved
    assert any(key.startswith("fpn.") and "running_mean" in key for key in moved)


def test_batches_are_accumulated_into_one_step_of_their_mean_gradient(sample):
    plain = {"optimizer": "sgd", "epochs": 1, "warmup_epochs": 0, "clip_norm": 1e9, "weight_decay": 0.0, "lr": 0.01}
    changes = plain | {"batch_size": 2, "accumulate": 3}
    start, network, _, _ = train_small(changes)

    params, spec = read_recipe().train.model_copy(update=changes), spec_of(128)
    images = TrainingSet(Path("data/coco/train.json"), Path("data/raw"), params, spec.input_wh, (128,) * 3)
    expected = copy.deepcopy(start)
    for batch in epoch_batches(len(images), 2, 3, epoch=0, seed=params.seed):
        pixels, targets = collate([images[key] for key in batch])
        bench = DetBenchTrain(expected).train()
        (bench(prepare_images(pixels, spec, CPU), targets)["loss"] / 3).backward()
    weight = "class_net.predict.conv_pw.bias"
    mean_gradient = expected.get_parameter(weight).grad
    step = (network.get_parameter(weight) - start.get_parameter(weight)).detach()
    # the first step with Nesterov's momentum of 0.9 is 1.9 gradients long
    torch.testing.assert_close(step, -0.01 * 1.9 * mean_gradient, rtol=1e-3, atol=1e-6)
    assert step.abs().max() > 1e-4


def test_a_loss_or_gradients_that_are_not_finite_name_the_first_such_step(tmp_path):
    checkpoints = Checkpoints(tmp_path, "key")
    good, bad_loss, bad_norm = (torch.tensor(row) for row in ([1.0, 2.0], [math.nan, math.nan], [1.0, math.inf]))
    check_finite([], 1, checkpoints)
    check_finite([good], 3, checkpoints)
    with pytest.raises(UserError, match="at step 4 the loss is nan; no epoch was saved before"):
        check_finite([good, bad_loss, bad_norm], 5, checkpoints)
    with pytest.raises(UserError, match="at step 7 the norm of the gradients is inf; "):
        check_finite([bad_norm], 7, checkpoints)


def test_gradients_that_are_not_finite_behind_a_finite_loss_stop_training_before_the_step(sample):
    """As the gradient of a square root at 0 is."""
    start = build_network(spec_of(128))
    weight = start.class_net.predict.conv_pw.bias
    before = weight.detach().clone()
    weight.register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(UserError, match="at step 1 the norm of the gradients is nan; no epoch was saved before"):
        train_small(network=start)
    assert torch.equal(weight, before)
    assert all(torch.isfinite(value).all() for value in start.state_dict().values())
    assert not Path("data/checkpoint").exists()


class Stopped(Exception):
    """Ends a training in the middle."""


def test_a_network_with_drop_path_resumes_with_the_same_weights(sample):
    changes = {"epochs": 4, "validate_every": 1, "workers": 0}

    def network():
        torch.manual_seed(0)
        return build_network(spec_of(128, name="tf_efficientdet_d0"))

    assert any(getattr(module, "drop_prob", 0) for module in network().modules())
    expected = train_small(changes, network=network())[1].state_dict()
    shutil.rmtree("data/checkpoint")

    def stop_at_the_end_of_the_third_epoch(average, calls=[]):  # noqa: B006
        calls.append(average)
        if len(calls) == 3:
            raise Stopped
        return {"bbox_mAP": 0.0}

    with pytest.raises(Stopped):
        train_small(changes, network=network(), validate=stop_at_the_end_of_the_third_epoch)
    torch.rand(7)  # the generator's state comes from the checkpoint
    _, resumed, _, history = train_small(changes, network=network())
    assert history.epochs == 4
    assert all(torch.equal(value, expected[key]) for key, value in resumed.state_dict().items())
