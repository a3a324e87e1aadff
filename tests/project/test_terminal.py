"""Names with signs that the terminal's encoding lacks are printed as escapes, by stages and commands."""

import io
import sys

import pytest

from viadet.commands.app import main
from viadet.project.errors import run_stage

NAME = "\u6c17\u7403.jpg"  # neither CP1252 of Windows nor ASCII has these signs
ESCAPED = b"\\u6c17\\u7403.jpg"


def use_terminal_of_windows(monkeypatch) -> dict[str, io.BytesIO]:
    """Replace both output streams by those of a terminal in CP1252; what is printed, as bytes."""
    printed = {name: io.BytesIO() for name in ("stdout", "stderr")}
    for name, raw in printed.items():
        monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, "cp1252", "strict", newline="\n", write_through=True))
    return printed


def test_a_stage_prints_any_name(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["stages/fetch.py"])
    printed = use_terminal_of_windows(monkeypatch)
    run_stage(lambda: print(f"left out {NAME}"), "")
    assert printed["stdout"].getvalue() == b"left out " + ESCAPED + b"\n"


def test_a_command_prints_any_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    printed = use_terminal_of_windows(monkeypatch)
    with pytest.raises(SystemExit) as ended:
        main(["predict", NAME])
    for stream in (sys.stdout, sys.stderr):
        print(ended.value.code, file=stream)  # Python does so at the end
    expected = b"predict: " + ESCAPED + b": no such file or folder; check the name\n"
    assert [raw.getvalue() for raw in printed.values()] == [expected, expected]
