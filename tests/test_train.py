import csv
import math
from pathlib import Path

import pytest
import torch
from conftest import SMALL, read, write_params

from stages import train
from stages.detection.cli import StageError
from stages.detection.dataset import TrainingSet
from stages.detection.network import WEIGHTS_NAME, build_network, load_network, make_spec, read_weights
from stages.detection.params import read_recipe

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
    network, spec = load_network(Path("data/model"), CPU)
    assert (spec.categories, spec.image_size, network.training) == (["balloon"], 128, False)


def test_training_lowers_the_loss(sample):
    write_params(SMALL | {"train.epochs": 25, "train.validate_every": 25})
    train.main()
    losses = [row["loss"] for row in rows("plots/train/loss.csv")]
    assert sum(losses[-3:]) / 3 < 0.8 * sum(losses[:3]) / 3


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_biases_and_batch_norm_do_not_decay(project, optimizer):
    params = read_recipe().train.model_copy(update={"optimizer": optimizer, "weight_decay": 0.3})
    network = build_network(make_spec("tf_efficientdet_lite0", ["balloon"], 128))
    groups = train.make_optimizer(network, params).param_groups
    decaying = [parameter for group in groups if group["weight_decay"] == 0.3 for parameter in group["params"]]
    still = [parameter for group in groups if group["weight_decay"] == 0 for parameter in group["params"]]
    assert decaying
    assert all(parameter.ndim > 1 for parameter in decaying)
    assert all(parameter.ndim <= 1 for parameter in still)


def test_the_learning_rate_rises_linearly_and_falls_along_a_cosine():
    factors = [train.learning_rate_factor(step, 14, 4) for step in range(15)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[9] == pytest.approx(0.5)  # half-way between step 4 and 14
    assert factors[14] == pytest.approx(0)


def test_the_average_moves_slower_than_the_weights(sample):
    params = read_recipe().train.model_copy(update={"ema_decay": 0.9})
    spec = make_spec("tf_efficientdet_lite0", ["balloon"], 128)
    torch.manual_seed(0)
    network = build_network(spec)
    start = network.backbone.conv_stem.weight.detach().clone()
    images = TrainingSet(Path("data/coco/train.json"), Path("data/raw/train"), params.augment, 128, (128,) * 3, 0)
    average, _ = train.train(network, spec, images, read("data/coco/val.json"), params, CPU, "key")
    moved = (network.backbone.conv_stem.weight - start).norm()
    assert 0 < (average.backbone.conv_stem.weight - start).norm() < moved


def test_a_loss_that_stops_being_finite_names_the_step_and_keeps_the_last_good_weights(sample):
    write_params(SMALL | {"train.epochs": 12, "train.lr": 1e30, "train.warmup_epochs": 0, "train.optimizer": "sgd"})
    with pytest.raises(StageError) as error:
        train.main()
    assert "the loss of step " in str(error.value)
    assert "lower train.lr" in str(error.value)
    assert not Path("data/model").exists()
    if "no epoch was finished" not in str(error.value):
        weights = read_weights(max(Path("data/checkpoint").glob("epoch_*.pt")))
        assert all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())


def test_losses_are_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train.check_finite([torch.tensor([1.0, 0.5, 0.5])], 3)
    with pytest.raises(StageError, match="the loss of step 4 is nan; no epoch was finished"):
        train.check_finite([torch.tensor([math.nan, 0.5, math.nan])], 4)


def test_cuda_without_a_gpu_stops_before_anything_is_written(sample):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    write_params(SMALL | {"train.device": "cuda"})
    with pytest.raises(StageError, match="torch sees no CUDA GPU"):
        train.main()
    assert not Path("data/model").exists()
