"""Training in several processes: the losses of one, each error told once, resuming with another number."""

import csv
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from forked import LOG, epochs_kept, kill, start_training, wait_until
from projects import SMALL, read, write_params
from safetensors.torch import load_file

from stages import train
from viadet.augmentation.training_set import epoch_batches
from viadet.project.errors import TERMINATED, UserError
from viadet.training.processes import Group, check_shares

PAIR = (Group(0, 2, 0, 2), Group(1, 2, 1, 2))
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# One step an epoch. The batch norms of neck and heads learn; at P7, which is one pixel here, they have six values, so
# rounding grows from step to step. SGD, as AdamW's first steps have one size even for a gradient that is only rounding.
SMOOTH = SMALL | {
    "train.epochs": 4,
    "train.validate_every": 4,
    "train.batch_size": 6,
    "train.freeze_batch_norm": True,
    "train.optimizer": "sgd",
    "train.lr": 0.002,
    "train.workers": 0,
}
TOLERANCES = (1e-5, 1e-4, 1e-2, 1e-2)  # relative, of the losses by epoch


def test_an_uneven_share_of_a_batch_names_the_numbers_to_change():
    message = (
        r"^3 processes can't share a batch of 4 images evenly; set train\.batch_size to a multiple of 3, or "
        r"--nproc-per-node of torchrun to one of 1, 2, 4$"
    )
    with pytest.raises(UserError, match=message):
        check_shares(4, 3)
    check_shares(4, 2)


@pytest.mark.parametrize("factors", [(), [1.0] * 8 + [3.5]])
def test_the_shares_of_a_batch_are_the_batch(factors):
    for batch in epoch_batches(images=9, batch_size=4, accumulate=1, epoch=2, seed=0, factors=factors):
        assert [key for group in PAIR for key in group.share_of(batch)] == batch
        assert Group().share_of(batch) == batch


def rows(path="plots/train/loss.csv"):
    with Path(path).open(encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def check_like(expected: tuple[list[dict], dict]) -> None:
    """Compare the losses and weights in the current folder with others."""
    losses, weights = expected
    for row, other, tolerance in zip(rows(), losses, TOLERANCES, strict=True):
        assert row == pytest.approx(other, rel=tolerance)
    for name, values in load_file("data/model/model.safetensors").items():
        torch.testing.assert_close(values, weights[name], rtol=0.01, atol=0.005)


@pytest.fixture(scope="module")
def single(finished_sample, tmp_path_factory):
    """Losses and weights of a training in one process."""
    folder = tmp_path_factory.mktemp("single")
    shutil.copytree(finished_sample / "data", folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params(SMOOTH)
        train.main()
        return rows(), load_file("data/model/model.safetensors")


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_two_processes_of_torchrun_have_the_losses_of_one_and_only_the_first_writes(sample, single):
    write_params(SMOOTH)
    result = subprocess.run([*TORCHRUN, "-m", "stages.train"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    check_like(single)
    assert [row["epoch"] for row in rows("plots/train/ap.csv")] == [4]
    assert read("metrics/train.json")["steps"] == 4
    assert read("metrics/timing.json")["device"] == "2 x cpu, 1 threads"
    assert result.stdout.count("tf_efficientdet_lite0 at 128 x 128 px on 2 x cpu") == 1
    assert result.stdout.count("epoch 4: loss ") == 1
    assert "24/24" in result.stderr
    assert "Warning" not in result.stderr
    assert not list(Path("data").glob(".decoded_images*"))
    assert not Path("data/checkpoint").exists()


def start_two(folders: list[Path], machines: int):
    """Start two processes as torchrun does, on one machine or as if on two; the first one first."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    processes = []
    for rank, folder in enumerate(folders):
        environment = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        local_rank = rank if machines == 1 else 0
        environment |= {"LOCAL_RANK": str(local_rank), "LOCAL_WORLD_SIZE": str(2 // machines)}
        processes.append(start_training(folder, **environment))
    return processes


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.needs("signals")
def test_a_killed_training_in_one_process_resumes_in_two(sample, single):
    write_params(SMOOTH)
    process = start_training()
    wait_until(process, epochs_kept)
    kill(process)
    LOG.unlink()
    for each in start_two([sample] * 2, machines=1):
        each.join()
        assert each.exitcode == 0, LOG.read_text(encoding="utf-8")
    assert LOG.read_text(encoding="utf-8").count("resuming after epoch") == 1
    check_like(single)


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.needs("signals")
def test_an_error_of_all_processes_is_told_by_the_first_and_the_others_end_in_silence(sample):
    write_params(SMOOTH | {"train.batch_size": 5})
    first, second = start_two([sample] * 2, machines=1)
    first.join()
    second.terminate()  # as torchrun does when another has failed
    second.join()
    assert (first.exitcode, second.exitcode) == (1, TERMINATED)
    log = LOG.read_text(encoding="utf-8")
    assert log.count("train: 2 processes can't share a batch of 5 images evenly") == 1
    assert len(log.splitlines()) == 2  # the first line names network and device
    assert not Path("data/model").exists()


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.needs("signals")
def test_all_machines_end_with_one_line_if_one_has_other_params_code_or_data(sample, monkeypatch):
    other = shutil.copytree(sample, sample / "other")
    write_params(SMOOTH)
    with monkeypatch.context() as patch:
        patch.chdir(other)
        write_params(SMOOTH | {"train.lr": 0.001})
    for folder, process in zip((sample, other), start_two([sample, other], machines=2), strict=True):
        process.join()
        assert process.exitcode == 1
        errors = (folder / LOG).read_text(encoding="utf-8").splitlines()
        errors = [line for line in errors if not line.startswith("tf_efficientdet_lite0 at ")]
        assert len(errors) == 1
        assert "the machines do not have the same params, code, data and libraries" in errors[0]
