"""Full and read-only disks, real ones where this machine lets us mount them."""

import importlib
import subprocess
from pathlib import Path

import pytest
from projects import SMALL, STAGES, stage_error, write_params

pytestmark = pytest.mark.slow


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


def whole_project() -> None:
    """Run all stages of the small sample here."""
    write_params(SMALL | {"train.epochs": 1, "evaluate.score_threshold": 0.0})
    for name in STAGES:
        importlib.import_module(f"stages.{name}").main()


def snapshot() -> dict[str, bytes]:
    files = (path for top in ("data", "metrics", "plots") for path in Path(top).rglob("*"))
    return {str(path): path.read_bytes() for path in files if path.is_file() and path.name != "timing.json"}


@pytest.mark.needs("linux")
def test_a_full_or_read_only_disk_is_one_line_in_every_stage_and_loses_nothing(disk, monkeypatch):
    folder = disk(120)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("BALLOON_MIRROR", raising=False)
    whole_project()
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
        line = stage_error(name)
        assert line.startswith(f"{name}: ")
        if name == "train":  # it looks before it stores what it decodes
            assert "where 0.0 GiB are free; free some, or lower model.image_size" in line
        else:
            assert line.endswith("No space left on device; free some space and run `dvc repro` again")
        assert snapshot() == before, name
        assert not list(Path().rglob("*.tmp")), name

    filler.unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    for name in STAGES:
        line = stage_error(name)
        assert line.startswith(f"{name}: ")
        assert line.endswith("Read-only file system; check your write permission there and run `dvc repro` again")
    assert snapshot() == before


@pytest.mark.needs("linux")
def test_a_disk_that_fills_up_during_training_keeps_the_last_checkpoint(disk, monkeypatch, capsys):
    folder = disk(250)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("BALLOON_MIRROR", raising=False)
    write_params(SMALL)
    for name in ("fetch", "convert"):
        importlib.import_module(f"stages.{name}").main()
    Path("filler").write_bytes(bytes(160 << 20))  # room for one checkpoint, of 50 MB
    assert stage_error("train") == "train: No space left on device; free some space and run `dvc repro` again"
    assert len(list(Path("data/checkpoint").iterdir())) == 1
    Path("filler").unlink()
    importlib.import_module("stages.train").main()
    assert "resuming after epoch 1 of 2" in capsys.readouterr().out
