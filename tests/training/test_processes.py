"""Training in several processes: the losses of one, one line when a process fails, resuming with another number."""

import csv
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from projects import SMALL, read, run_module, stage_error, write_params
from safetensors.torch import load_file

from stages import train
from viadet.augmentation.training_set import epoch_batches
from viadet.project.errors import UserError
from viadet.project.params import read_recipe
from viadet.training.processes import Group, check_shares, count_processes

PAIR = (Group(0, 2, 0, 2), Group(1, 2, 1, 2))
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


def train_params(**changes):
    return read_recipe().train.model_copy(update=changes)


def test_auto_is_one_process_without_a_gpu_or_on_a_cpu(project, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert count_processes(train_params(device="auto")) == 1
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert count_processes(train_params(device="cpu")) == 1


@pytest.mark.parametrize(("gpus", "count"), [(1, 1), (2, 2), (3, 2), (8, 4)])
def test_auto_is_one_process_for_each_gpu_that_has_a_share_of_the_batch(project, monkeypatch, capsys, gpus, count):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert count_processes(train_params(device="auto", batch_size=4)) == count
    note = f"training on {count} of {gpus} GPUs, as more can't share batches of 4 images\n"
    assert capsys.readouterr().out == (note if count < gpus else "")


def test_more_processes_than_gpus_or_an_uneven_share_names_the_params(project, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=r"^train\.processes is 4, but torch sees 2 GPUs; set it to 2 or auto$"):
        count_processes(train_params(device="cuda", processes=4))
    message = (
        r"^3 processes can't share a batch of 4 images evenly; set train\.batch_size to a multiple of 3, or "
        r"train\.processes to one of 1, 2, 4$"
    )
    with pytest.raises(UserError, match=message):
        count_processes(train_params(device="cpu", processes=3, batch_size=4))
    check_shares(4, 2)


def test_the_shares_of_a_batch_are_the_batch():
    for batch in epoch_batches(images=9, batch_size=4, accumulate=1, epoch=2, seed=0):
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


ON_ITS_OWN_MACHINE = """
import sys
from torch import distributed
from viadet.project.errors import run_stage
from viadet.training.processes import Group, run_as_one_of_several
rank, meeting_place, key = sys.argv.pop(1), sys.argv.pop(1), sys.argv.pop(1)

def check():
    distributed.init_process_group("gloo", init_method=meeting_place, rank=int(rank), world_size=2)
    Group(int(rank), 2).check_same_training(key)
    distributed.barrier()  # the training that would follow

run_stage(lambda: run_as_one_of_several(check), "")
"""


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("keys", [("a", "a"), ("a", "b")])
def test_all_machines_end_with_one_line_if_one_has_other_params_code_or_data(tmp_path, keys):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", ON_ITS_OWN_MACHINE, str(rank), (tmp_path / "meeting").as_uri(), key],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, key in enumerate(keys)
    ]
    for process in started:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == (keys[0] != keys[1])
        assert ("do not have the same params, code, data and libraries" in errors) == (keys[0] != keys[1])
        assert "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_two_processes_have_the_losses_of_one_and_only_the_first_writes(sample, single, capfd):
    write_params(SMOOTH | {"train.processes": 2})
    train.main()
    check_like(single)
    assert [row["epoch"] for row in rows("plots/train/ap.csv")] == [4]
    assert read("metrics/train.json")["steps"] == 4
    assert read("metrics/timing.json")["device"] == "2 x cpu, 1 threads"
    printed = capfd.readouterr()
    assert printed.out.count("tf_efficientdet_lite0 at 128 x 128 px on 2 x cpu") == 1
    assert printed.out.count("epoch 4: loss ") == 1
    assert "24/24" in printed.err
    assert not list(Path("data").glob(".decoded_images*"))
    assert not Path("data/checkpoint").exists()


def running_ranks(process: psutil.Process) -> list[psutil.Process]:
    """The processes that train, the first one first; beside them there is one of Python's own."""
    children = sorted(process.children(), key=psutil.Process.create_time)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_an_error_in_one_process_ends_all_of_them_in_one_line(sample, capfd):
    write_params(SMOOTH | {"train.processes": 2})
    last = max(Path("data/raw/train").glob("*.jpg"))
    last.write_bytes(b"damaged")
    assert "can't be read as an image" in stage_error("train")
    assert capfd.readouterr().err == ""
    assert running_ranks(psutil.Process()) == []
    assert not Path("data/model").exists()


def start_training():
    with Path("log").open("w", encoding="utf-8") as log:
        return subprocess.Popen([sys.executable, "-m", "stages.train"], stdout=log, stderr=log)


def wait_for_a_checkpoint(process):
    while not list(Path("data/checkpoint").glob("*/epoch_*.pt")):
        assert process.poll() is None, Path("log").read_text(encoding="utf-8")
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_a_killed_training_in_one_process_resumes_in_two(sample, single):
    write_params(SMOOTH)
    process = start_training()
    wait_for_a_checkpoint(process)
    process.kill()
    process.wait()
    write_params(SMOOTH | {"train.processes": 2})
    result = run_module("train")
    assert "resuming after epoch" in result.stdout, result.stderr
    check_like(single)


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_all_and_training_resumes_in_one(sample, single, killed):
    write_params(SMOOTH | {"train.processes": 2})
    process = start_training()
    wait_for_a_checkpoint(process)
    ranks = running_ranks(psutil.Process(process.pid))
    assert len(ranks) == 2
    ranks[killed].kill()
    assert process.wait(timeout=120) == 1
    log = Path("log").read_text(encoding="utf-8")
    assert log.splitlines()[-1].endswith(  # after the progress bar of a first process that was killed
        f"train: process {killed + 1} of 2 was killed (SIGKILL), which ended the training; if it was not you, the "
        "memory may have been too small; run `dvc repro` again to continue"
    )
    assert "Error" not in log
    assert psutil.wait_procs(ranks, timeout=20)[1] == []
    assert not Path("data/model").exists()
    write_params(SMOOTH)
    result = run_module("train")
    assert "resuming after epoch" in result.stdout, result.stderr
    check_like(single)
