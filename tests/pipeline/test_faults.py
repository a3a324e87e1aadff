"""Full and read-only disks, real ones where this machine lets us mount them, and two runs at once."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from projects import SMALL, Clone, run_module, small_changes, write_params

STAGES = ("fetch", "convert", "visualise", "train", "evaluate", "feature_maps", "grad_cam")


@pytest.fixture
def disk(tmp_path):
    """Mount a small file system of its own, in memory, at tmp_path/disk."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(megabytes: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            pytest.skip(
                f"can't mount a small disk here, full and read-only ones are not tested: {result.stderr.strip()}"
            )
        return folder

    yield mount
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)


def whole_project(folder: Path) -> None:
    """Run all stages of the small sample here."""
    write_params(SMALL | {"train.epochs": 1, "evaluate.score_threshold": 0.0})
    for name in STAGES:
        result = run_module(name)
        assert result.returncode == 0, result.stderr


def snapshot() -> dict[str, bytes]:
    files = (path for top in ("data", "metrics", "plots") for path in Path(top).rglob("*"))
    return {str(path): path.read_bytes() for path in files if path.is_file() and path.name != "timing.json"}


def last_line(result: subprocess.CompletedProcess) -> str:
    """The one line for people; a bar of progress may stand before it."""
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    return result.stderr.replace("\r", "\n").splitlines()[-1]


def test_a_full_or_read_only_disk_is_one_line_in_every_stage_and_loses_nothing(disk, monkeypatch):
    folder = disk(120)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("BALLOON_MIRROR", raising=False)
    whole_project(folder)
    before = snapshot()

    filler = Path("filler")
    with filler.open("wb") as file:  # leaves less than a page
        try:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        except OSError:
            pass
    for name in STAGES:
        result = run_module(name)
        line = last_line(result)
        assert line.startswith(f"{name}: ")
        assert line.endswith("No space left on device; free some space and run `dvc repro` again"), result.stderr
        assert snapshot() == before, name
        assert not list(Path().rglob("*.tmp")), name

    filler.unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    for name in STAGES:
        line = last_line(run_module(name))
        assert line.startswith(f"{name}: ")
        assert line.endswith("Read-only file system; give yourself the right to write there")
    assert snapshot() == before


def test_a_disk_that_fills_up_during_training_keeps_the_last_checkpoint(disk, monkeypatch):
    folder = disk(250)
    monkeypatch.chdir(folder)
    write_params(SMALL | {"train.epochs": 30, "train.validate_every": 30})
    for name in ("fetch", "convert"):
        assert run_module(name).returncode == 0
    Path("filler").write_bytes(bytes(160 << 20))  # room for one checkpoint, of 50 MB
    line = last_line(run_module("train"))
    assert line == "train: No space left on device; free some space and run `dvc repro` again"
    assert len(list(Path("data/checkpoint").iterdir())) == 1
    Path("filler").unlink()
    result = run_module("train")
    assert result.returncode == 0, result.stderr
    assert "going on after epoch 1 of 30" in result.stdout


def test_of_two_runs_at_once_one_succeeds_and_the_other_hears_why_not(tmp_path):
    clone = Clone(tmp_path)
    clone.run("dvc", "exp", "run", "-S", "recipe=sample", *small_changes())
    params = clone.folder / "params.yaml"
    params.write_text(params.read_text().replace("epochs: 2\n", "epochs: 8\n"))
    first = subprocess.Popen(
        ["dvc", "repro"],
        cwd=clone.folder,
        env=clone.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not (clone.folder / "data/checkpoint").exists():
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.05)
    second = clone.call("dvc", "repro")
    output = first.communicate()[0]
    assert first.returncode == 0, output
    assert second.returncode != 0
    assert second.stderr.count("ERROR: ") == 1
    assert "blocked by" in second.stderr or "Unable to acquire lock" in second.stderr
    assert "Data and pipelines are up to date" in clone.run("dvc", "repro")
    shutil.rmtree(clone.folder)
