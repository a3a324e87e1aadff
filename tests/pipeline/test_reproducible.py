"""The same commit gives the same bytes: whatever the folder, time zone, language, hash seed and number of workers."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from projects import Clone, changed_param

from viadet.project.params import load_yaml

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chain")]


def hashes(clone: Clone) -> dict[str, str]:
    """The hash of every output, as dvc.lock has it."""
    lock = load_yaml((clone.folder / "dvc.lock").read_text(encoding="utf-8"))
    return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}


def test_two_clones_give_the_same_bytes(finished_clones):
    expected, other = map(hashes, finished_clones)
    assert other == expected
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


@contextmanager
def training(clone: Clone, log: Path) -> Iterator[subprocess.Popen]:
    """Start `dvc repro train` in a process group of its own; what is left of it is killed."""
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            ["dvc", "repro", "train"],
            cwd=clone.folder,
            env=clone.environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # it has ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until(process: subprocess.Popen, log: Path, happened: Callable[[], object]) -> None:
    while not happened():
        assert process.poll() is None, log.read_text(encoding="utf-8")
        time.sleep(0.001)


@pytest.mark.needs("signals")
def test_a_run_that_is_killed_with_dvc_continues_to_the_same_lock_and_meanwhile_a_second_hears_why_it_can_not_run(
    experiment, finished_clone, tmp_path
):
    """Without worker processes, which makes no difference either."""
    lock = load_yaml((experiment.folder / "dvc.lock").read_text(encoding="utf-8"))
    lock["stages"]["train"]["params"]["params.yaml"]["sample.train"]["workers"] = 0
    log = tmp_path / "log"
    with changed_param(experiment, "sample.train.workers", 0):
        with training(experiment, log) as killed:
            wait_until(killed, log, lambda: list((experiment.folder / "data").glob("checkpoint/*/epoch_*.pt")))
        assert not (experiment.folder / "data/model/model.safetensors").exists()

        with training(experiment, log) as first:
            wait_until(first, log, lambda: "resuming after epoch 1 of 2" in log.read_text(encoding="utf-8"))
            os.killpg(first.pid, signal.SIGSTOP)  # however long the second takes to start
            second = experiment.call("dvc", "repro", "train")
            os.killpg(first.pid, signal.SIGCONT)
            assert first.wait() == 0, log.read_text(encoding="utf-8")
        assert second.returncode != 0
        assert second.stderr.count("ERROR: ") == 1
        assert "blocked by" in second.stderr or "Unable to acquire lock" in second.stderr
    assert hashes(experiment) == hashes(finished_clone)
    assert load_yaml((experiment.folder / "dvc.lock").read_text(encoding="utf-8")) == lock
