"""Ctrl-C while a stage imports its libraries, which takes seconds."""

import os
import subprocess
import sys

import pytest
from projects import REPOSITORY


@pytest.mark.parametrize(
    ("error", "status", "last_line"),
    [
        ("KeyboardInterrupt", 130, "train: interrupted; run `dvc repro` again to continue"),
        ("ZeroDivisionError", 1, "ZeroDivisionError"),
    ],
)
def test_an_interrupt_while_torch_is_imported_is_one_line(tmp_path, error, status, last_line):
    (tmp_path / "torch.py").write_text(f"raise {error}\n", encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "stages.train"]
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == status
    assert result.stderr.splitlines()[-1] == last_line
    assert ("Traceback" in result.stderr) == (error != "KeyboardInterrupt")
