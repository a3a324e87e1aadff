"""Training that is killed continues, and ends with the bytes of an undisturbed one."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from forked import LOG, epochs_kept, finish_training, kill, start_training, wait_until
from projects import SMALL, run_module, write_params

OUTPUTS = ("data/model/model.safetensors", "data/model/model.json", "metrics/train.json")
OUTPUTS += ("plots/train/loss.csv", "plots/train/ap.csv")
CHECKPOINTS = Path("data/checkpoint")
LONG = SMALL | {"train.epochs": 12, "train.validate_every": 4, "train.optimizer": "adamw"}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("resume"), pytest.mark.needs("signals")]


def outputs() -> dict[str, bytes]:
    return {name: Path(name).read_bytes() for name in OUTPUTS}


def curve_rows() -> int:
    return len(Path("plots/train/loss.csv").read_text(encoding="utf-8").splitlines()) - 1


@pytest.fixture(scope="module")
def expected(finished_sample, tmp_path_factory):
    """What training gives if nothing happens, started as DVC starts it."""
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
    for moment in ("before the first checkpoint", "within an epoch or validation", "while a checkpoint is written"):
        before = epochs_kept()
        process = start_training()
        if moment == "before the first checkpoint":
            time.sleep(moments.uniform(0, 1))
        elif moment == "within an epoch or validation":
            wait_until(process, lambda before=before: epochs_kept() - before)
            time.sleep(moments.uniform(0, 0.5))
        else:
            for path in CHECKPOINTS.glob("*/.epoch_*.tmp"):  # what an earlier kill left
                path.unlink()
            wait_until(process, lambda: list(CHECKPOINTS.glob("*/.epoch_*.tmp")))
        kill(process)
        assert not Path("data/model").exists()
        assert len(epochs_kept()) <= 3  # two, and one more between writing the new and removing the old
    assert len(epochs_kept()) >= 1
    assert "resuming after epoch" in finish_training()
    assert outputs() == expected
    assert not CHECKPOINTS.exists()


def test_an_interrupted_training_says_so_in_one_line_and_continues_with_its_curves(long_training, expected):
    process = start_training()
    wait_until(process, epochs_kept)
    os.killpg(process.pid, signal.SIGINT)
    process.join()
    assert process.exitcode == 130
    assert LOG.read_text(encoding="utf-8").splitlines()[-1] == "train: interrupted; run `dvc repro` again to continue"
    kept = int(max(epochs_kept()).removeprefix("epoch_").removesuffix(".pt"))
    assert curve_rows() >= kept
    shutil.rmtree("plots")  # as DVC does before it runs the stage
    process = start_training()
    wait_until(process, Path("plots/train/loss.csv").exists)
    assert curve_rows() >= kept
    process.join()
    assert process.exitcode == 0
    assert "resuming after epoch" in LOG.read_text(encoding="utf-8")
    assert outputs() == expected


def test_another_training_keeps_and_tells_a_checkpoint_and_if_damaged_it_gives_way_to_the_one_before(
    long_training, expected
):
    process = start_training()
    wait_until(process, lambda: len(epochs_kept()) == 2)
    kill(process)
    (kept,) = CHECKPOINTS.iterdir()
    write_params(LONG | {"train.epochs": 1, "train.lr": 0.001})
    log = finish_training()
    newest = max(kept.glob("epoch_*.pt"))
    assert f"{newest} is the checkpoint of another training" in log
    assert "resuming" not in log
    assert list(CHECKPOINTS.iterdir()) == [kept]

    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    write_params(LONG)
    log = finish_training()
    assert f"{newest} is damaged and ignored" in log
    assert "resuming after epoch" in log
    assert outputs() == expected
