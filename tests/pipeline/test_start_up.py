"""How stages start: help and bad arguments are answered before libraries are imported, which takes seconds."""

import ast
import os
import subprocess
import sys

import pytest
from projects import REPOSITORY

STAGES = sorted(path.stem for path in REPOSITORY.glob("stages/[a-z]*.py"))


def run(*arguments):
    """Run Python in the repository; the finished process, and its seconds of CPU."""
    before = os.times()  # of children always 0 on Windows
    result = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    after = os.times()
    return result, sum(after[2:4]) - sum(before[2:4])  # user's and system's, of children


@pytest.fixture(scope="module")
def bare_seconds():
    """CPU time of a Python that does nothing."""
    return run("-c", "pass")[1]


@pytest.mark.parametrize("stage", STAGES)
def test_help_prints_the_docstring_at_once(stage, bare_seconds):
    result, seconds = run("-m", f"stages.{stage}", "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert (
        ast.get_docstring(ast.parse((REPOSITORY / f"stages/{stage}.py").read_text(encoding="utf-8"))) in result.stdout
    )
    assert seconds < max(0.5, 20 * bare_seconds)  # importing torch takes 5 s, some 200 times a bare Python


def test_a_script_run_by_its_path_prints_the_same_help():
    by_path, _ = run("stages/fetch.py", "--help")
    by_module, _ = run("-m", "stages.fetch", "--help")
    assert by_path.stdout == by_module.stdout
    assert by_path.stdout.startswith("usage: python -m stages.fetch [-h]\n")


def test_arguments_are_refused_at_once(bare_seconds):
    result, seconds = run("-m", "stages.train", "--epochs", "3")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == "python -m stages.train: error: unrecognized arguments: --epochs 3"
    assert seconds < max(0.5, 20 * bare_seconds)


def test_importing_stages_answers_nothing():
    """Only `python -m stages.NAME` has its arguments answered, not another program with the option --help."""
    result, _ = run("-c", "import stages, sys; print(sys.argv)", "--help")
    assert (result.returncode, result.stdout) == (0, "['-c', '--help']\n")
    result, _ = run("-m", "stages.nosuch", "--help")
    assert result.stderr.endswith("No module named stages.nosuch\n")
