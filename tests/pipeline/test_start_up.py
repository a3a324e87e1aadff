"""How stages start: help and bad arguments are answered before any work."""

import ast
import subprocess
import sys

import pytest
from projects import REPOSITORY


def run(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=REPOSITORY, check=False)


@pytest.mark.parametrize("command", [("-m", "stages.fetch"), ("stages/fetch.py",)])
def test_help_prints_the_docstring(command):
    result = run(*command, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: python -m stages.fetch [-h]\n")
    source = (REPOSITORY / "stages/fetch.py").read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source)) in result.stdout


def test_arguments_are_refused():
    result = run("-m", "stages.fetch", "--epochs", "3")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == "python -m stages.fetch: error: unrecognized arguments: --epochs 3"
