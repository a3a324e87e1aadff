"""The same commit gives the same bytes: whatever the folder, time zone, language, hash seed and number of workers."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from projects import Clone, changed_param, small_changes

from viadet.project.params import load_yaml

OTHER = {"PYTHONHASHSEED": "4242", "TZ": "Pacific/Auckland", "LC_ALL": "C", "MPLBACKEND": "svg"}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chain")]


def hashes(clone: Clone) -> dict[str, str]:
    """The hash of every output, as dvc.lock has it."""
    lock = load_yaml((clone.folder / "dvc.lock").read_text(encoding="utf-8"))
    return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}


def test_two_clones_give_the_same_bytes(finished_clone, tmp_path):
    folder = tmp_path / "another folder with a longer name"
    folder.mkdir()
    other = Clone(folder)
    other.environment |= OTHER
    other.run("dvc", "exp", "run", "-S", "recipe=sample", *small_changes(), "-S", "sample.train.workers=2")
    expected = hashes(finished_clone)
    assert hashes(other) == expected
    model = {f"data/model/{name}" for name in ("model.safetensors", "model.json", "README.md")}
    assert model | {"data/detections.json", "plots/evaluate/images", "plots/grad_cam/images"} < set(expected)


def kill_with_dvc(clone: Clone, stage: str, is_time: Callable[[Path], object]) -> None:
    """Run a stage by DVC and kill both, when something has happened in the folder data."""
    process = subprocess.Popen(
        ["dvc", "repro", "--force", "--single-item", stage],
        cwd=clone.folder,
        env=clone.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not is_time(clone.folder / "data"):
        assert process.poll() is None
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.needs("signals")
def test_a_stage_that_is_killed_with_dvc_leaves_nothing_that_is_taken_for_an_output(experiment):
    lock = (experiment.folder / "dvc.lock").read_bytes()
    data = experiment.folder / "data"
    kill_with_dvc(experiment, "fetch", lambda data: list(data.glob(".raw.tmp/*/train/*.jpg")))
    assert [data / name for name in ("init", "libraries", "raw") if (data / name).exists()] == []
    assert (data / ".raw.tmp").exists()
    experiment.run("dvc", "repro", "--force", "--single-item", "fetch")
    assert not (data / ".raw.tmp").exists()
    assert (experiment.folder / "dvc.lock").read_bytes() == lock


@pytest.mark.needs("signals")
def test_a_run_that_is_killed_with_dvc_continues_to_the_same_lock(experiment, finished_clone):
    lock = (experiment.folder / "dvc.lock").read_bytes()
    expected = hashes(finished_clone)
    kill_with_dvc(experiment, "train", lambda data: list(data.glob("checkpoint/*/epoch_*.pt")))
    assert not (experiment.folder / "data/model/model.safetensors").exists()
    output = experiment.run("dvc", "repro")
    assert "resuming after epoch 1 of 2" in output
    assert hashes(experiment) == expected
    assert (experiment.folder / "dvc.lock").read_bytes() == lock


def test_training_without_worker_processes_gives_the_same_bytes(experiment, finished_clone):
    with changed_param(experiment, "sample.train.workers", 0):
        output = experiment.run("dvc", "repro", "train")
    assert "Running stage 'train'" in output
    assert hashes(experiment) == hashes(finished_clone)
