"""What Windows does otherwise, by stand-ins, so that a relapse fails on Linux; `tests/pipeline/test_other_systems.py`
runs all stages under them."""

import json
import os
from pathlib import Path

import pytest
from other_systems import like_windows

from viadet.project.errors import os_error_reason
from viadet.project.files import replaced_dir, replaced_file, write_csv, write_json


@pytest.fixture(autouse=True)
def windows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    like_windows(monkeypatch)


def test_the_stand_ins_refuse_what_windows_refuses():
    Path("a").write_bytes(b"")
    with Path("a").open("rb") as file, pytest.raises(OSError, match="Bad file descriptor"):
        os.fsync(file.fileno())
    with Path("a").open("rb"):
        for forbidden in (Path("a").unlink, lambda: Path("a").replace("b")):
            with pytest.raises(PermissionError):
                forbidden()
    Path("a").write_text("é\n")  # noqa: PLW1514 (the system's encoding is what is tested)
    assert Path("a").read_bytes() == b"\xe9\r\n"


def test_files_and_folders_are_replaced():
    for text in ("old", "new"):
        with replaced_file(Path("file")) as temporary:
            temporary.write_bytes(text.encode())
        with replaced_dir(Path("folder")) as temporary:
            write_json(temporary / "a.json", text)
    assert Path("file").read_bytes() == b"new"
    assert json.loads(Path("folder/a.json").read_bytes()) == "new"
    assert sorted(path.name for path in Path().iterdir()) == ["file", "folder"]


def test_text_is_utf_8_with_line_feeds():
    write_json(Path("a.json"), {"a": "é"})
    write_csv(Path("a.csv"), [{"name": "é"}], ["name"])
    assert Path("a.json").read_bytes() == b'{\n "a": "\\u00e9"\n}\n'
    assert Path("a.csv").read_bytes() == "name\né\n".encode()


def test_a_file_that_another_program_has_open_is_told_as_that():
    error = PermissionError(13, "Permission denied", "metrics/train.json")
    error.winerror = 32
    assert os_error_reason(error) == "metrics/train.json: Permission denied; close the program that has it open"
