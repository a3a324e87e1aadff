"""All stages under stand-ins for Windows; names and line ends for every system."""

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
from other_systems import like_windows, refused_by_windows
from projects import REPOSITORY, SMALL, STAGES, read, write_params

OUTPUT_DIRS = ("data", "metrics", "plots")
NOT_SQUARE = {"model.image_size": [192, 128], "model.test_size": [256, 160], "model.anchor_scale": 3.0}


@pytest.mark.slow
def test_all_stages_run_where_files_are_as_on_windows_and_inputs_are_not_square(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BALLOON_MIRROR", raising=False)
    write_params(SMALL | NOT_SQUARE | {"train.epochs": 1, "evaluate.score_threshold": 0.0})
    like_windows(monkeypatch)
    for name in (*STAGES, "fetch", "convert", "train", "evaluate"):  # the second time over the outputs of the first
        importlib.import_module(f"stages.{name}").main()
    assert read("data/model/model.json")["input_wh"] == [192, 128]
    for folder in ("plots/evaluate/images", "plots/feature_maps", "plots/grad_cam/images"):
        assert len(list(Path(folder).glob("val_*.jpg"))) == 3
    outputs = [path for folder in OUTPUT_DIRS for path in Path(folder).rglob("*") if path.is_file()]
    assert len(outputs) > 30
    for path in outputs:
        assert not refused_by_windows(path, longest=150)
        if path.suffix in (".csv", ".json"):
            assert b"\r" not in path.read_bytes(), path
            assert path.read_bytes().decode("utf-8")


def test_the_locks_of_two_systems_are_compared_output_by_output(tmp_path):
    lock = (REPOSITORY / "dvc.lock").read_text(encoding="utf-8")
    digest = re.search(r"path: data/coco\n.*?md5: (\w+)", lock, re.DOTALL)[1]
    command = [sys.executable, str(REPOSITORY / ".ci/compare_locks.py"), str(tmp_path)]
    for system in ("linux", "macos"):
        only = subprocess.run(command, capture_output=True, text=True).stdout
        assert only.startswith("Nothing to compare: the sample ran on ")  # the other systems' jobs failed
        (tmp_path / system).mkdir()
        (tmp_path / system / "dvc.lock").write_text(lock, encoding="utf-8")
    assert (
        "outputs have the same bytes on linux, macos" in subprocess.run(command, capture_output=True, text=True).stdout
    )
    (tmp_path / "macos/dvc.lock").write_text(lock.replace(digest, "0" * 32), encoding="utf-8")
    table = subprocess.run(command, capture_output=True, text=True).stdout
    assert "1 of " in table
    assert "| data/coco | A | B |" in table


def tracked_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True)
    return listed.stdout.decode().split("\0")[:-1]


def test_windows_accepts_the_name_of_every_tracked_file():
    names = tracked_files()
    assert [name for name in names if refused_by_windows(PurePosixPath(name), longest=150)] == []
    assert len({name.casefold() for name in names}) == len(names)


@pytest.mark.parametrize("autocrlf", ["true", "input"])
def test_a_checkout_has_the_same_bytes_whatever_git_does_with_line_ends(tmp_path, autocrlf):
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    names = [name for name in tracked_files() if (REPOSITORY / name).is_file()]
    for name in names:
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, origin / name)
    git = ["git", "-c", f"core.autocrlf={autocrlf}", "-c", "user.name=T", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "-Af"], ["commit", "-qm", "start"], ["clone", "-q", ".", str(clone)]):
        subprocess.run([*git, *command], cwd=origin, check=True, capture_output=True)
    differing = [name for name in names if (clone / name).read_bytes() != (REPOSITORY / name).read_bytes()]
    assert differing == []
