"""The stage: what it writes, the same bytes twice, and errors."""

import csv
from pathlib import Path

import pytest
import torch
from projects import SMALL, read, write_params

from stages import train
from viadet.network.weights import WEIGHTS_NAME, load_network, read_weights
from viadet.project.errors import UserError

CPU = torch.device("cpu")


def rows(path):
    with Path(path).open(encoding="utf-8") as file:
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
    assert read("metrics/train.json")["epochs"] == 3
    assert read("metrics/train.json")["loss"] == pytest.approx(losses[-1]["loss"], abs=1e-3)
    timing = read("metrics/timing.json")
    assert set(timing) == {"device", "images_per_second", "model_sha256", "precision", "seconds", "torch"}
    assert timing["precision"] == "float32"
    assert not Path("data/checkpoint").exists()
    network, spec = load_network(Path("data/model"), CPU, (128, 128))
    assert (spec.categories, spec.input_wh, network.training) == (["balloon"], (128, 128), False)


@pytest.mark.slow
def test_training_lowers_the_loss(sample):
    write_params(SMALL | {"train.epochs": 25, "train.validate_every": 25})
    train.main()
    losses = [row["loss"] for row in rows("plots/train/loss.csv")]
    assert sum(losses[-3:]) / 3 < 0.8 * sum(losses[:3]) / 3


def test_a_loss_that_stops_being_finite_names_the_step_and_keeps_the_last_good_weights(sample):
    write_params(SMALL | {"train.epochs": 12, "train.lr": 1e30, "train.warmup_epochs": 0, "train.optimizer": "sgd"})
    with pytest.raises(UserError) as error:
        train.main()
    assert str(error.value).startswith("at step ")
    assert "lower train.lr" in str(error.value)
    assert not Path("data/model").exists()
    if "no epoch was saved before" not in str(error.value):
        weights = read_weights(max(Path("data/checkpoint").glob("*/epoch_*.pt")))
        assert all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())


def test_cuda_without_a_gpu_stops_before_anything_is_written(sample):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    write_params(SMALL | {"train.device": "cuda"})
    with pytest.raises(UserError, match="torch sees no CUDA GPU"):
        train.main()
    assert not Path("data/model").exists()
