"""Training of the small sample in this process: what moves, what is accumulated, what stops it."""

import contextlib
import copy
import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
from effdet import DetBenchTrain
from projects import read, shorten, spec_of

from viadet.augmentation.training_set import TrainingSet, collate, epoch_batches
from viadet.detection.detector import Detector, detect_data_set
from viadet.evaluation.coco_metrics import evaluate_coco
from viadet.network.build import build_network, prepare_images
from viadet.project.errors import UserError
from viadet.project.params import read_recipe
from viadet.training.checkpoint import Checkpoints
from viadet.training.step_graphs import StepGraphs
from viadet.training.trainer import Trainer

CPU = torch.device("cpu")


def make_trainer(network, spec, changes):
    """Set up a training on the sample in the current folder."""
    params = read_recipe().train.model_copy(update=changes)
    images = TrainingSet(Path("data/coco/train.json"), Path("data/raw"), params, spec.input_wh, (128,) * 3)
    return Trainer(network, spec, images, params, CPU, Checkpoints(Path("data/checkpoint"), "key"))


def train_small(changes=None, size=128, network=None, validate=None, after_epoch=lambda history: None):
    """Train on the sample in the current folder, by default a shortened lite0.

    Returns:
        The network's start, the trained network, the averaged one, and the history.
    """
    spec, val_coco = spec_of(size), read("data/coco/val.json")
    if network is None:
        torch.manual_seed(0)
        network = build_network(spec)
        shorten(network)
    start = copy.deepcopy(network)
    trainer = make_trainer(network, spec, changes or {})

    def measure(average):
        detections, _ = detect_data_set(Detector(average, spec), val_coco, Path("data/raw"))
        return evaluate_coco(val_coco, detections).stats

    average = trainer.train(validate or measure, after_epoch)
    return start, network, average, trainer.history


def test_the_average_moves_slower_than_the_weights_and_the_bar_tells_epoch_loss_and_time_left(sample, capsys):
    start, network, average, history = train_small({"ema_decay": 0.9})
    bars = re.split("[\\r\\n]+", capsys.readouterr().err)
    assert any(re.search(r"^epoch 2/2: .*\d+:\d\d<\d+:\d\d.*loss=\d+\.\d{3}\b", bar) for bar in bars), bars
    first, last, averaged = (one.backbone.conv_stem.weight for one in (start, network, average))
    assert 0 < (averaged - first).norm() < (last - first).norm()
    assert [row["epoch"] for row in history.losses] == [1, 2]
    assert [row["epoch"] for row in history.aps] == [2]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_training_in_half_the_bits_goes_as_in_float32_but_for_rounding(sample, precision):
    _, _, _, exact = train_small({"precision": "fp32"})
    shutil.rmtree("data/checkpoint")
    _, network, _, rounded = train_small({"precision": precision})
    # float16 skips the first step, whose scale is too high: only the first epoch, a single step, is the same
    assert rounded.losses[0]["loss"] != exact.losses[0]["loss"]
    assert rounded.losses[0]["loss"] == pytest.approx(exact.losses[0]["loss"], rel=0.05)
    assert math.isfinite(rounded.losses[1]["loss"])
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


def test_small_inputs_in_the_first_epochs_change_the_weights_and_a_resumed_training_ends_the_same(sample):
    changes = {"epochs": 3, "small_share": 0.67, "validate_every": 3}
    _, undisturbed, _, history = train_small(changes, size=192)
    assert [row["epoch"] for row in history.losses] == [1, 2, 3]
    shutil.rmtree("data/checkpoint")
    _, large_only, _, _ = train_small(changes | {"small_share": 0.0}, size=192)
    assert not torch.equal(weights_of(large_only), weights_of(undisturbed))

    for last in (1, 2):  # within the small epochs, and where the size changes
        shutil.rmtree("data/checkpoint")

        def stop(history, last=last):
            if history.epochs > last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train_small(changes, size=192, after_epoch=stop)
        assert list(Path("data/checkpoint").rglob("*.pt"))
        _, resumed, _, _ = train_small(changes, size=192)
        assert torch.equal(weights_of(resumed), weights_of(undisturbed)), last


def keep_the_objects_of_one_image():
    """Leave the others without objects, so that its class is rare."""
    path = Path("data/coco/train.json")
    coco = read(path)
    coco["annotations"] = [o for o in coco["annotations"] if o["image_id"] == coco["annotations"][0]["image_id"]]
    path.write_text(json.dumps(coco), encoding="utf-8")


def test_repeated_images_change_no_number_of_steps_and_a_resumed_training_ends_the_same(sample):
    keep_the_objects_of_one_image()
    changes = {"epochs": 3, "validate_every": 3, "batch_size": 2, "workers": 0}
    trained = {}
    for threshold in (None, 1.0):
        _, network, _, history = train_small(changes | {"repeat_threshold": threshold})
        trained[threshold] = weights_of(network), (history.steps, history.images, history.losses[-1]["lr"])
        shutil.rmtree("data/checkpoint")
    assert trained[1.0][1] == trained[None][1]
    assert trained[1.0][1][:2] == (9, 18)
    assert not torch.equal(trained[1.0][0], trained[None][0])

    def stop(history):
        if history.epochs > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_small(changes | {"repeat_threshold": 1.0}, after_epoch=stop)
    assert list(Path("data/checkpoint").rglob("*.pt"))
    _, resumed, _, _ = train_small(changes | {"repeat_threshold": 1.0})
    assert torch.equal(weights_of(resumed), trained[1.0][0])


def weights_of(network):
    return torch.cat([values.flatten().float() for values in network.state_dict().values()])


def test_float16_skips_steps_whose_gradients_overflow_and_lowers_the_scale_without_a_warning(sample, recwarn):
    trainer = make_trainer(build_network(spec_of(128)), spec_of(128), {"precision": "fp16"})
    before = copy.deepcopy(trainer.network.state_dict())
    (trainer.network.class_net.predict.conv_pw.weight.sum() * trainer.scaler.scale(torch.tensor(math.inf))).backward()
    assert trainer.clip_gradients() == 0
    scale = trainer.scaler.get_scale()
    trainer.take_step()
    assert trainer.scaler.get_scale() == scale / 2
    assert [str(warning.message) for warning in recwarn if "lr_scheduler" in str(warning.message)] == []
    assert all(torch.equal(values, before[name]) for name, values in trainer.network.state_dict().items())


def test_the_random_state_of_a_mac_is_restored(sample, monkeypatch):
    """That state is a stand-in: here is no Mac."""
    states = [torch.tensor([1], dtype=torch.uint8)]
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: states[-1])
    monkeypatch.setattr(torch.mps, "set_rng_state", states.append)
    trainer = make_trainer(build_network(spec_of(128)), spec_of(128), {})
    trainer.device = torch.device("mps")
    captured = trainer.state_dict()
    states.append(torch.tensor([2], dtype=torch.uint8))
    trainer.load_state_dict(captured)
    assert states[-1].tolist() == [1]


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
    changes = plain | {"batch_size": 2, "accumulate": 3, "precision": "fp32"}  # as the expected gradients are
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


def test_a_loss_or_gradients_that_are_not_finite_name_the_first_such_step(sample):
    check_finite = make_trainer(build_network(spec_of(128)), spec_of(128), {}).check_finite
    good, bad_loss, bad_norm = (torch.tensor(row) for row in ([1.0, 2.0], [math.nan, math.nan], [1.0, math.inf]))
    check_finite([], 1)
    check_finite([good], 3)
    with pytest.raises(UserError, match="at step 4 the loss is nan; no epoch was saved before"):
        check_finite([good, bad_loss, bad_norm], 5)
    with pytest.raises(UserError, match="at step 7 the norm of the gradients is inf; "):
        check_finite([bad_norm], 7)


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


def test_a_network_with_drop_path_resumes_with_the_same_weights_and_goes_on_with_its_curves(sample):
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

    rows = []  # of losses and of APs, at each writing of the curves

    def count_rows(history):
        rows.append((len(history.losses), len(history.aps)))

    with pytest.raises(Stopped):
        stop = stop_at_the_end_of_the_third_epoch
        train_small(changes, network=network(), validate=stop, after_epoch=count_rows)
    assert rows == [(0, 0), (1, 1), (2, 2)]
    torch.rand(7)  # the generator's state comes from the checkpoint
    rows.clear()
    _, resumed, _, history = train_small(changes, network=network(), after_epoch=count_rows)
    kept = rows[0][0]  # 1 if saving took too long to be due after epoch 2
    assert kept in (1, 2)
    assert rows == [(epoch, epoch) for epoch in range(kept, 5)]
    assert history.epochs == 4
    assert all(torch.equal(value, expected[key]) for key, value in resumed.state_dict().items())


def test_where_a_step_cannot_be_captured_training_says_so_and_ends_with_the_same_weights(sample, monkeypatch, capsys):
    """CUDA's part is a stand-in that lets the steps before a capture run, then fails: here is no GPU."""

    class NoStream:
        def __init__(self, device=None):
            pass

        def wait_stream(self, other):
            pass

    @contextlib.contextmanager
    def failing_capture(graph, pool, capture_error_mode):
        torch.rand(3)
        raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors might be")
        yield

    cuda = {"Stream": NoStream, "CUDAGraph": object, "graph_pool_handle": lambda: None, "graph": failing_capture}
    cuda |= {"stream": lambda stream: contextlib.nullcontext(), "current_stream": NoStream}
    cuda |= {"get_rng_state": lambda device: torch.get_rng_state()}
    cuda |= {"set_rng_state": lambda state, device: torch.set_rng_state(state)}
    for name, replacement in cuda.items():
        monkeypatch.setattr(torch.cuda, name, replacement)
    trained = []
    for captures in (False, True):
        torch.manual_seed(0)
        spec = spec_of(128, name="tf_efficientdet_d0")  # which has drop paths: the random numbers count
        trainer = make_trainer(build_network(spec), spec, {"workers": 0, "validate_every": 1, "epochs": 1})
        trainer.graphs = StepGraphs(trainer.add_gradients, trainer.network) if captures else None
        trained.append(weights_of(trainer.train(lambda average: {"bbox_mAP": 0.0}, lambda history: None)))
        trainer.checkpoints.remove()
        told = capsys.readouterr().out
        assert told.count("CUDA can't capture it (operation not permitted when stream is capturing CUDA") == captures
    assert torch.equal(*trained)
