"""Training that is killed goes on, and ends with the very bytes of one that was left alone."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from projects import SMALL, run_module, write_params

from viadet.training.checkpoint import newest_state, save_state, training_key

OUTPUTS = ("data/model/model.safetensors", "data/model/model.json", "metrics/train.json")
OUTPUTS += ("plots/train/loss.csv", "plots/train/ap.csv")
CHECKPOINTS = Path("data/checkpoint")
LONG = SMALL | {"train.epochs": 16, "train.validate_every": 4, "train.optimizer": "adamw"}
KILLS = 10


def outputs() -> dict[str, bytes]:
    return {name: Path(name).read_bytes() for name in OUTPUTS}


def start_training() -> subprocess.Popen:
    """In a process group of its own, so that its workers are killed with it."""
    command = [sys.executable, "-m", "stages.train"]
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)  # what was started with `&` ignores it, and passes that on
    try:
        with Path("log").open("a") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    finally:
        signal.signal(signal.SIGINT, handler)


def kill(process: subprocess.Popen, how: int = signal.SIGKILL) -> None:
    os.killpg(process.pid, how)
    process.wait()


def wait_until(process: subprocess.Popen, happened) -> None:
    while not happened():
        assert process.poll() is None, f"training ended by itself\n{Path('log').read_text()}"
        time.sleep(0.0005)


def epochs_kept() -> set[str]:
    return {path.name for path in CHECKPOINTS.glob("epoch_*.pt")}


@pytest.fixture
def undisturbed(sample):
    """A project to train in, and what training gives there if nothing happens."""
    write_params(LONG)
    Path("data/init").mkdir(exist_ok=True)
    Path("data/init/start.json").write_text('{"init": "random"}')
    result = run_module("train")
    assert result.returncode == 0, result.stderr
    expected = outputs()
    assert not CHECKPOINTS.exists()
    for folder in ("data/model", "metrics", "plots"):
        shutil.rmtree(folder)
    return expected


def test_ten_kills_at_random_moments_change_nothing(undisturbed):
    moments = random.Random(0)
    for number in range(KILLS):
        before = epochs_kept()
        process = start_training()
        if number == 0:  # before the first checkpoint
            time.sleep(moments.uniform(0, 3))
        elif number % 3:  # in the middle of an epoch, or of validation
            wait_until(process, lambda before=before: epochs_kept() - before)
            time.sleep(moments.uniform(0, 0.5))
        else:  # while a checkpoint is being written
            wait_until(process, lambda: list(CHECKPOINTS.glob(".epoch_*.tmp")))
        kill(process)
        assert not Path("data/model").exists()
        assert len(epochs_kept()) <= 3  # two, and one more between writing the new and removing the old
    assert len(epochs_kept()) >= 2
    result = run_module("train")
    assert result.returncode == 0, result.stderr
    assert "going on after epoch" in result.stdout
    assert outputs() == undisturbed
    assert not CHECKPOINTS.exists()


def test_an_interrupted_training_says_so_in_one_line_and_goes_on(undisturbed):
    process = start_training()
    wait_until(process, epochs_kept)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() == 1
    assert Path("log").read_text().splitlines()[-1] == "train: interrupted; `dvc repro` goes on"
    result = run_module("train")
    assert "going on after epoch" in result.stdout
    assert outputs() == undisturbed


def test_a_damaged_checkpoint_gives_way_to_the_one_before(undisturbed):
    process = start_training()
    wait_until(process, lambda: len(epochs_kept()) == 2)
    kill(process)
    newest = max(CHECKPOINTS.glob("epoch_*.pt"))
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    result = run_module("train")
    assert f"{newest} is damaged and left out" in result.stdout
    assert "going on after epoch" in result.stdout
    assert outputs() == undisturbed


def test_a_checkpoint_of_other_params_is_not_taken(undisturbed):
    write_params(LONG | {"train.lr": 0.001})
    process = start_training()
    wait_until(process, epochs_kept)
    kill(process)
    write_params(LONG)
    result = run_module("train")
    assert "is of other params, code or data and not taken" in result.stdout
    assert "going on" not in result.stdout
    assert outputs() == undisturbed


def test_a_checkpoint_that_would_run_code_is_not_loaded(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    (tmp_path / "epoch_00001.pt").write_bytes(pickle.dumps(Evil()))
    assert newest_state(tmp_path, "key") is None
    assert not (tmp_path / "evil").exists()


def test_the_two_newest_states_are_kept_and_read_back(tmp_path):
    for epoch in (1, 2, 3):
        save_state(tmp_path, {"values": torch.arange(epoch), "name": "x"}, epoch, "key")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch_00002.pt", "epoch_00003.pt"]
    state = newest_state(tmp_path, "key")
    assert (state["epoch"], state["name"], state["values"].tolist()) == (3, "x", [0, 1, 2])
    assert newest_state(tmp_path, "other key") is None
    assert newest_state(tmp_path / "absent", "key") is None


def key_of(folder: Path, settings: str = "{}") -> str:
    code = (
        "import stages.detection.augment; from stages.detection.checkpoint import training_key; "
        f"from pathlib import Path; print(training_key({settings}, [Path('data')]))"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": "", "PYTHONHASHSEED": str(random.randrange(1000))}
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env=environment)
    return result.stdout


def test_a_training_is_known_by_params_code_and_data_and_not_by_its_folder(tmp_path):
    stages = Path(training_key.__code__.co_filename).parents[1]
    for name in ("one", "two"):
        shutil.copytree(stages, tmp_path / name / "stages")
        (tmp_path / name / "data").mkdir()
        (tmp_path / name / "data/a.jpg").write_bytes(b"pixels")
    one, two = tmp_path / "one", tmp_path / "two"
    key = key_of(one)
    assert key_of(two) == key
    assert key_of(two, "{'lr': 1}") != key
    (two / "data/a.jpg").write_bytes(b"other pixels")
    assert key_of(two) != key
    (two / "data/a.jpg").write_bytes(b"pixels")
    with (two / "stages/detection/augment.py").open("a") as file:
        file.write("# changed\n")
    assert key_of(two) != key
