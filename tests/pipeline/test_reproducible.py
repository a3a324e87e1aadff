"""The same commit gives the same bytes: whatever the folder, time zone, language, hash seed and number of workers."""

import os
import signal
import subprocess
import time

import pytest
from projects import Clone, small_changes
from ruamel.yaml import YAML

ONE = {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
OTHER = {"PYTHONHASHSEED": "4242", "TZ": "Pacific/Auckland", "LC_ALL": "C", "MPLBACKEND": "svg"}


def run_sample(folder, environment, workers) -> Clone:
    folder.mkdir()
    clone = Clone(folder)
    clone.environment |= environment
    clone.run("dvc", "exp", "run", "-S", "recipe=sample", *small_changes(), "-S", f"sample.train.workers={workers}")
    return clone


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return run_sample(tmp_path_factory.mktemp("first") / "one", ONE, "auto")


def hashes(clone: Clone) -> dict[str, str]:
    """The hash of every output, as dvc.lock has it."""
    lock = YAML(typ="safe").load((clone.folder / "dvc.lock").read_text())
    return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}


def test_two_clones_give_the_same_bytes(one, tmp_path):
    other = run_sample(tmp_path / "another folder with a longer name", OTHER, 2)
    expected = hashes(one)
    assert hashes(other) == expected
    assert {"data/model", "data/detections.json", "plots/evaluate/images", "plots/grad_cam/images"} < set(expected)
    third = run_sample(tmp_path / "third", ONE, 0)
    assert hashes(third) == expected


def test_a_run_that_is_killed_with_dvc_goes_on_to_the_same_lock(one):
    lock = (one.folder / "dvc.lock").read_bytes()
    expected = hashes(one)
    process = subprocess.Popen(
        ["dvc", "repro", "--force", "--single-item", "train"],
        cwd=one.folder,
        env=one.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not list((one.folder / "data").glob("checkpoint/epoch_*.pt")):
        assert process.poll() is None
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (one.folder / "data/model").exists()
    output = one.run("dvc", "repro")
    assert "going on after epoch 1 of 2" in output
    assert hashes(one) == expected
    assert (one.folder / "dvc.lock").read_bytes() == lock
