"""Files and folders that are replaced whole, however the process ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from viadet.project.errors import os_error_reason
from viadet.project.files import replaced_dir, replaced_file

OLD, NEW = {"a": "old", "b": "old"}, {"a": "new", "c": "new"}
# Replaces the folder `target`, and is killed just before the operation on the file system whose number it is given.
REPLACER = """
import os, sys
from pathlib import Path
from viadet.project.files import replaced_dir
left = int(sys.argv[1])
def count(event, arguments):
    global left
    if event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"):
        left -= 1
        if left == 0:
            os._exit(1)  # at once, as a kill: nothing is tidied up
sys.addaudithook(count)
with replaced_dir(Path("target")) as folder:
    for name in "ac":
        (folder / name).write_text("new")
"""


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(files):
    with replaced_dir(Path("target")) as folder:
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")


def names_here():
    return {path.name for path in Path().iterdir()}


def content():
    return {path.name: path.read_text(encoding="utf-8") for path in Path("target").iterdir()}


def test_a_folder_is_replaced_whole_or_not_at_all():
    write(OLD)
    with pytest.raises(ZeroDivisionError), replaced_dir(Path("target")) as folder:
        (folder / "a").write_text("new", encoding="utf-8")
        raise ZeroDivisionError
    assert content() == OLD
    write(NEW)
    assert content() == NEW
    assert names_here() == {"target"}


def test_a_folder_whose_replacement_is_killed_at_any_moment_is_the_old_one_or_the_new_one_or_not_there():
    results = []
    for moment in range(1, 20):
        write(OLD)
        killed = subprocess.run([sys.executable, "-c", REPLACER, str(moment)], check=False).returncode != 0
        assert names_here() <= {"target", ".target.tmp"}
        results.append(content() if Path("target").exists() else None)
        if not killed:
            break
    assert not killed
    assert [result for index, result in enumerate(results) if result not in results[:index]] == [OLD, None, NEW]
    assert results.index(NEW) < len(results) - 1  # also killed while the old folder was deleted
    write(OLD)
    assert content() == OLD
    assert names_here() == {"target"}


def test_what_a_killed_process_left_of_a_file_is_replaced():
    Path(".model.tmp").write_text("longer than the new text", encoding="utf-8")
    with replaced_file(Path("model")) as temporary:
        assert not temporary.exists()
        temporary.write_text("new", encoding="utf-8")
    assert names_here() == {"model"}
    assert Path("model").read_text(encoding="utf-8") == "new"


def test_a_file_is_replaced_whole_or_not_at_all():
    Path("model").write_text("old", encoding="utf-8")
    with pytest.raises(ZeroDivisionError), replaced_file(Path("model")) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise ZeroDivisionError
    assert names_here() == {"model"}
    assert Path("model").read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize("number", [1, 13])  # EPERM and EACCES
def test_what_may_not_be_read_or_written_is_named_with_advice_that_fits_both(number):
    reason = os_error_reason(OSError(number, "Permission denied", "data/coco/val.json"))
    assert reason == "data/coco/val.json: Permission denied; check your permissions there"
