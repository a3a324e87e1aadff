"""Files and folders that are replaced whole, however the process ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from viadet.project.errors import os_error_reason
from viadet.project.files import remove_leftovers, replaced_dir, replaced_file

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
# Writes into a folder and a file, and waits for its input to end.
WRITER = """
import sys
from pathlib import Path
from viadet.project.files import replaced_dir, replaced_file
with replaced_dir(Path("target")) as folder, replaced_file(Path("file")) as file:
    (folder / "a").write_text("new")
    file.write_text("new")
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_old():
    Path("target").mkdir()
    for name, text in OLD.items():
        Path("target", name).write_text(text, encoding="utf-8")


def names_here():
    return {path.name for path in Path().iterdir()}


def content():
    return {path.name: path.read_text(encoding="utf-8") for path in Path("target").iterdir()}


def test_a_folder_is_replaced_whole_or_not_at_all():
    write_old()
    with pytest.raises(ZeroDivisionError), replaced_dir(Path("target")) as folder:
        (folder / "a").write_text("new", encoding="utf-8")
        raise ZeroDivisionError
    assert content() == OLD
    with replaced_dir(Path("target")) as folder:
        for name, text in NEW.items():
            (folder / name).write_text(text, encoding="utf-8")
    assert content() == NEW
    assert names_here() == {"target"}


def test_a_folder_whose_replacement_is_killed_at_any_moment_is_the_old_or_the_new_one_after_the_next_start():
    results = []
    for moment in range(1, 20):
        if not Path("target").exists() or content() != OLD:
            with replaced_dir(Path("target")) as folder:
                for name, text in OLD.items():
                    (folder / name).write_text(text, encoding="utf-8")
        killed = subprocess.run([sys.executable, "-c", REPLACER, str(moment)], check=False).returncode != 0
        missing = not Path("target").exists()
        with pytest.raises(ZeroDivisionError), replaced_dir(Path("target")):
            raise ZeroDivisionError  # the next start, which fails
        assert content() in (OLD, NEW)
        assert names_here() == {"target"}
        results.append((missing, content() == NEW))
        if not killed:
            break
    assert not killed
    assert (True, False) in results  # killed between the two renames
    assert (False, True) in results[:-1]  # killed while the old folder was deleted


def test_files_of_a_running_process_are_left_alone_and_those_of_a_killed_one_removed():
    write_old()
    writer = subprocess.Popen([sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "ready\n"
    written = {f".{name}.{writer.pid}.tmp" for name in ("target", "file")}
    remove_leftovers(Path())
    with pytest.raises(ZeroDivisionError), replaced_dir(Path("target")):
        raise ZeroDivisionError
    assert names_here() == {"target", *written}
    writer.kill()
    writer.communicate()
    assert names_here() == {"target", *written}
    remove_leftovers(Path())
    assert content() == OLD
    assert names_here() == {"target"}


def test_only_leftovers_of_the_given_name_are_removed():
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f".model.{dead.pid}.tmp", f".model.json.{dead.pid}.tmp", ".model.mine.tmp", f"model.{dead.pid}.tmp"]
    for name in names:
        Path(name).touch()
    with replaced_file(Path("model")) as temporary:
        temporary.touch()
    assert names_here() == {"model", *names[1:]}


def test_a_file_removes_what_a_killed_process_left_of_it():
    with replaced_file(Path("other")) as temporary:  # the folder's first file
        temporary.touch()
    Path("target").mkdir()
    killed = subprocess.Popen([sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert killed.stdout.readline() == "ready\n"
    killed.kill()
    killed.communicate()
    assert f".file.{killed.pid}.tmp" in names_here()
    subprocess.run(
        [sys.executable, "-c", "from viadet.project.files import *; write_text(Path('file'), 'x')"], check=True
    )
    assert names_here() == {"other", "target", f".target.{killed.pid}.tmp", "file"}


@pytest.mark.parametrize("flush", [True, False])
def test_many_files_in_a_folder_take_time_in_proportion(flush):
    """The names in a folder are listed once in a process, not for each file."""
    code = f"""if True:
        import sys
        from pathlib import Path
        from viadet.project.files import replaced_file
        listed = []
        sys.addaudithook(lambda event, arguments: event in ("os.scandir", "os.listdir") and listed.append(arguments))
        for number in range(50):
            with replaced_file(Path("many", str(number)), flush={flush}) as temporary:
                temporary.touch()
        print(len(listed))
    """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 1 <= int(result.stdout) <= 2
    assert len(list(Path("many").iterdir())) == 50


@pytest.mark.parametrize("number", [1, 13])  # EPERM and EACCES
def test_what_may_not_be_read_or_written_is_named_with_advice_that_fits_both(number):
    reason = os_error_reason(OSError(number, "Permission denied", "data/coco/val.json"))
    assert reason == "data/coco/val.json: Permission denied; check your permissions there"
