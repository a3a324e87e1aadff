"""Ctrl-C and SIGTERM: one line, its exit code, and nothing half-written."""

import signal
import subprocess
import sys

import pytest

# Writes into a folder and a file as a stage does, until it gets a signal.
WRITER = """
import time
from pathlib import Path
from viadet.project.errors import run_stage
from viadet.project.files import replaced_dir, replaced_file
def main():
    with replaced_dir(Path("target")) as folder, replaced_file(Path("file")) as file:
        (folder / "a").write_text("new")
        file.write_text("new")
        print("ready", flush=True)
        time.sleep(60)
run_stage(main, "")
"""


def signalled(command, number, **options):
    """Start a command, send it a signal once it prints a line; its exit code and the rest of its output."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    line = process.stdout.readline()
    assert line == "ready\n", line
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    return process.returncode, output


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_stage_that_is_ended_leaves_its_outputs_as_they_were(tmp_path, number, status, word):
    (tmp_path / "target").mkdir()
    (tmp_path / "target/a").write_text("old", encoding="utf-8")
    (tmp_path / "writer.py").write_text(WRITER, encoding="utf-8")
    ended = signalled([sys.executable, "writer.py"], number, cwd=tmp_path)
    assert ended == (status, f"writer: {word}; run `dvc repro` again to continue\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["target", "writer.py"]
    assert (tmp_path / "target/a").read_text(encoding="utf-8") == "old"
