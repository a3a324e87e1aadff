import copy
import csv
import math
from pathlib import Path

import pytest
import torch
from effdet import DetBenchTrain
from projects import SMALL, read, spec_of, write_params

from stages import train
from viadet.augmentation.training_set import TrainingSet, collate, epoch_batches
from viadet.network.build import build_network, prepare_images
from viadet.network.weights import WEIGHTS_NAME, load_network, read_weights
from viadet.project.errors import UserError
from viadet.project.params import read_recipe
from viadet.training.loop import check_finite, train
from viadet.training.optimiser import freeze, learning_rate_factor, make_optimizer

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def random_start(project):
    (project / "data/init").mkdir(parents=True)
    (project / "data/init/start.json").write_text('{"init": "random"}')


def rows(path):
    with Path(path).open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_training_twice_gives_the_same_bytes_whatever_came_before(sample):
    outputs = [train.MODEL_DIR / WEIGHTS_NAME, train.METRICS_PATH, train.PLOTS_DIR / "loss.csv"]
    train.main()
    first = [path.read_bytes() for path in outputs]
    torch.manual_seed(123)
    train.main()
    assert [path.read_bytes() for path in outputs] == first


def test_training_writes_curves_metrics_and_a_model_that_loads(sample):
    write_params(SMALL | {"train.epochs": 3, "train.validate_every": 2})
    train.main()
    losses = rows("plots/train/loss.csv")
    assert [row["epoch"] for row in losses] == [1, 2, 3]
    for row in losses:
        assert row["loss"] == pytest.approx(row["class_loss"] + row["box_loss"], rel=1e-3)
    assert [row["epoch"] for row in rows("plots/train/ap.csv")] == [2, 3]
    assert read("metrics/train.json")["steps"] == 3  # 6 images, batches of 4: one full batch an epoch
    assert read("metrics/train.json")["loss"] == pytest.approx(losses[-1]["loss"], abs=1e-3)
    assert set(read("metrics/timing.json")) == {"device", "images_per_second", "seconds", "torch"}
    network, spec = load_network(Path("data/model"), CPU, (128, 128))
    assert (spec.categories, spec.input_wh, network.training) == (["balloon"], (128, 128), False)


def test_training_lowers_the_loss(sample):
    write_params(SMALL | {"train.epochs": 25, "train.validate_every": 25})
    train.main()
    losses = [row["loss"] for row in rows("plots/train/loss.csv")]
    assert sum(losses[-3:]) / 3 < 0.8 * sum(losses[:3]) / 3


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_biases_and_batch_norm_do_not_decay(project, optimizer):
    params = read_recipe().train.model_copy(update={"optimizer": optimizer, "weight_decay": 0.3})
    network = build_network(spec_of(128))
    groups = make_optimizer(network, params).param_groups
    decaying = [parameter for group in groups if group["weight_decay"] == 0.3 for parameter in group["params"]]
    still = [parameter for group in groups if group["weight_decay"] == 0 for parameter in group["params"]]
    assert decaying
    assert all(parameter.ndim > 1 for parameter in decaying)
    assert all(parameter.ndim <= 1 for parameter in still)


def test_the_learning_rate_rises_linearly_and_falls_along_a_cosine():
    factors = [learning_rate_factor(step, 14, 4) for step in range(15)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[9] == pytest.approx(0.5)  # half-way between step 4 and 14
    assert factors[14] == pytest.approx(0)


def test_the_average_moves_slower_than_the_weights(sample):
    params = read_recipe().train.model_copy(update={"ema_decay": 0.9})
    spec = spec_of(128)
    torch.manual_seed(0)
    network = build_network(spec)
    start = network.backbone.conv_stem.weight.detach().clone()
    images = TrainingSet(Path("data/coco/train.json"), Path("data/raw"), params, spec.input_wh, (128,) * 3)
    average, _ = train(network, spec, images, read("data/coco/val.json"), params, CPU, "key")
    moved = (network.backbone.conv_stem.weight - start).norm()
    assert 0 < (average.backbone.conv_stem.weight - start).norm() < moved


def test_frozen_stages_and_batch_norms_stay_and_the_rest_moves(sample):
    changes = {"frozen_stages": 2, "freeze_batch_norm": True, "backbone_lr": 0.5, "accumulate": 2, "batch_size": 2}
    params = read_recipe().train.model_copy(update=changes)
    spec = spec_of([192, 128])
    torch.manual_seed(0)
    network = build_network(spec)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    images = TrainingSet(Path("data/coco/train.json"), Path("data/raw"), params, spec.input_wh, (128,) * 3)
    _, history = train(network, spec, images, read("data/coco/val.json"), params, CPU, "key")
    assert (history.steps, history.images) == (2, 8)  # 6 images: one step of two batches of two an epoch
    moved = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    norms = {name for name, module in network.backbone.named_modules() if isinstance(module, torch.nn.BatchNorm2d)}
    early = ("backbone.conv_stem.", "backbone.bn1.", "backbone.blocks.0.", "backbone.blocks.1.")
    assert not [key for key in moved if key.startswith(early)]
    assert not [key for key in moved if key.removeprefix("backbone.").rpartition(".")[0] in norms]
    assert "backbone.blocks.3.0.conv_pw.weight" in moved
    assert any(key.startswith("fpn.") and "running_mean" in key for key in moved)


def test_more_frozen_stages_than_there_are_is_an_error(project):
    params = read_recipe().train.model_copy(update={"frozen_stages": 9})
    with pytest.raises(UserError, match=r"train\.frozen_stages is 9, but the backbone has 7 blocks"):
        freeze(build_network(spec_of(128)), params)


def test_a_resnet_backbone_freezes_its_batch_norms_but_has_no_blocks(project):
    network = build_network(spec_of(128, name="resdet50"))
    params = read_recipe().train.model_copy(update={"freeze_batch_norm": True})
    network.train()
    freeze(network, params)
    assert not network.backbone.bn1.training
    assert network.fpn.training
    with pytest.raises(UserError, match=r"train\.frozen_stages is 1, but the backbone has 0 blocks"):
        freeze(network, params.model_copy(update={"frozen_stages": 1}))


def test_the_backbone_learns_at_its_own_rate(project):
    params = read_recipe().train.model_copy(update={"lr": 0.4, "backbone_lr": 0.25})
    network = build_network(spec_of(128))
    groups = make_optimizer(network, params).param_groups
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    for name, parameter in network.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.1 if name.startswith("backbone.") else 0.4)


def test_batches_are_accumulated_into_one_step_of_their_mean_gradient(sample):
    plain = {"optimizer": "sgd", "epochs": 1, "warmup_epochs": 0, "clip_norm": 1e9, "weight_decay": 0.0, "lr": 0.01}
    params = read_recipe().train.model_copy(update=plain | {"batch_size": 2, "accumulate": 3})
    torch.manual_seed(0)
    spec = spec_of(128)
    network = build_network(spec)
    images = TrainingSet(Path("data/coco/train.json"), Path("data/raw"), params, spec.input_wh, (128,) * 3)

    alone = copy.deepcopy(network)
    for batch in epoch_batches(len(images), 2, 3, epoch=0, seed=params.seed):
        pixels, targets = collate([images[key] for key in batch])
        bench = DetBenchTrain(alone).train()
        (bench(prepare_images(pixels, spec, CPU), targets)["loss"] / 3).backward()
    weight = "class_net.predict.conv_pw.bias"
    mean_gradient, start = alone.get_parameter(weight).grad, alone.get_parameter(weight).detach()

    train(network, spec, images, read("data/coco/val.json"), params, CPU, "key")
    step = network.get_parameter(weight).detach() - start
    # the first step with Nesterov's momentum of 0.9 is 1.9 gradients long
    torch.testing.assert_close(step, -0.01 * 1.9 * mean_gradient, rtol=1e-3, atol=1e-6)
    assert step.abs().max() > 1e-4


def test_a_loss_that_stops_being_finite_names_the_batch_and_keeps_the_last_good_weights(sample):
    write_params(SMALL | {"train.epochs": 12, "train.lr": 1e30, "train.warmup_epochs": 0, "train.optimizer": "sgd"})
    with pytest.raises(UserError) as error:
        train.main()
    assert "the loss of batch " in str(error.value)
    assert "lower train.lr" in str(error.value)
    assert not Path("data/model").exists()
    if "no epoch was finished" not in str(error.value):
        weights = read_weights(max(Path("data/checkpoint").glob("epoch_*.pt")))
        assert all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())


def test_losses_are_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_finite([torch.tensor([1.0, 0.5, 0.5])], 3)
    with pytest.raises(UserError, match="the loss of batch 4 is nan; no epoch was finished"):
        check_finite([torch.tensor([math.nan, 0.5, math.nan])], 4)


def test_cuda_without_a_gpu_stops_before_anything_is_written(sample):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    write_params(SMALL | {"train.device": "cuda"})
    with pytest.raises(UserError, match="torch sees no CUDA GPU"):
        train.main()
    assert not Path("data/model").exists()
