"""Training that is killed continues, and ends with the bytes of an undisturbed one."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from projects import SMALL, run_module, write_params

OUTPUTS = ("data/model/model.safetensors", "data/model/model.json", "metrics/train.json")
OUTPUTS += ("plots/train/loss.csv", "plots/train/ap.csv")
CHECKPOINTS = Path("data/checkpoint")
LONG = SMALL | {"train.epochs": 12, "train.validate_every": 4, "train.optimizer": "adamw"}
KILLS = 7

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("resume"), pytest.mark.needs("signals")]


def outputs() -> dict[str, bytes]:
    return {name: Path(name).read_bytes() for name in OUTPUTS}


def start_training() -> subprocess.Popen:
    """In a process group of its own, so that its workers are killed with it."""
    command = [sys.executable, "-m", "stages.train"]
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)  # what was started with `&` ignores it, and passes that on
    try:
        with Path("log").open("a", encoding="utf-8") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    finally:
        signal.signal(signal.SIGINT, handler)


def kill(process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(process: subprocess.Popen, happened) -> None:
    while not happened():
        assert process.poll() is None, f"training ended by itself\n{Path('log').read_text(encoding='utf-8')}"
        time.sleep(0.0005)


def epochs_kept() -> set[str]:
    return {path.name for path in CHECKPOINTS.glob("*/epoch_*.pt")}


def curve_rows() -> int:
    return len(Path("plots/train/loss.csv").read_text(encoding="utf-8").splitlines()) - 1


@pytest.fixture(scope="module")
def expected(finished_sample, tmp_path_factory):
    """What training gives if nothing happens."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(finished_sample / "data", folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params(LONG)
        result = run_module("train")
        assert result.returncode == 0, result.stderr
        assert not CHECKPOINTS.exists()
        return outputs()


@pytest.fixture
def long_training(sample):
    """A project with a training that can be interrupted."""
    write_params(LONG)


def test_kills_at_random_moments_change_nothing(long_training, expected):
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
            for path in CHECKPOINTS.glob("*/.epoch_*.tmp"):  # what an earlier kill left
                path.unlink()
            wait_until(process, lambda: list(CHECKPOINTS.glob("*/.epoch_*.tmp")))
        kill(process)
        assert not Path("data/model").exists()
        assert len(epochs_kept()) <= 3  # two, and one more between writing the new and removing the old
    assert len(epochs_kept()) >= 2
    result = run_module("train")
    assert result.returncode == 0, result.stderr
    assert "resuming after epoch" in result.stdout
    assert outputs() == expected
    assert not CHECKPOINTS.exists()


def test_an_interrupted_training_says_so_in_one_line_and_continues_with_its_curves(long_training, expected):
    process = start_training()
    wait_until(process, epochs_kept)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() == 130
    log = Path("log").read_text(encoding="utf-8")
    assert log.splitlines()[-1] == "train: interrupted; run `dvc repro` again to continue"
    kept = int(max(epochs_kept()).removeprefix("epoch_").removesuffix(".pt"))
    assert curve_rows() >= kept
    shutil.rmtree("plots")  # as DVC does before it runs the stage
    process = start_training()
    wait_until(process, Path("plots/train/loss.csv").exists)
    assert curve_rows() >= kept
    assert process.wait() == 0
    assert "resuming after epoch" in Path("log").read_text(encoding="utf-8")
    assert outputs() == expected


def test_a_damaged_checkpoint_gives_way_to_the_one_before(long_training, expected):
    process = start_training()
    wait_until(process, lambda: len(epochs_kept()) == 2)
    kill(process)
    newest = max(CHECKPOINTS.glob("*/epoch_*.pt"))
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    result = run_module("train")
    assert f"{newest} is damaged and ignored" in result.stdout
    assert "resuming after epoch" in result.stdout
    assert outputs() == expected


def test_the_checkpoint_of_another_training_is_told_and_kept_and_continued_on_return(long_training, expected):
    process = start_training()
    wait_until(process, epochs_kept)
    kill(process)
    (kept,) = CHECKPOINTS.iterdir()
    write_params(LONG | {"train.epochs": 1, "train.lr": 0.001})
    result = run_module("train")
    assert f"{max(kept.glob('epoch_*.pt'))} is the checkpoint of another training" in result.stdout
    assert "resuming" not in result.stdout
    assert list(CHECKPOINTS.iterdir()) == [kept]
    write_params(LONG)
    result = run_module("train")
    assert "resuming after epoch" in result.stdout
    assert outputs() == expected
