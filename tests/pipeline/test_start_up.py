"""How stages start: help, bad arguments, by module and by path."""

import importlib
import subprocess
import sys

import pytest
from projects import REPOSITORY

from viadet.project.errors import run_stage

STAGES = sorted(path.stem for path in REPOSITORY.glob("stages/[a-z]*.py"))


def run(*arguments: str) -> subprocess.CompletedProcess:
    """Run Python in the repository, as DVC and users do."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=REPOSITORY, check=False)


@pytest.mark.parametrize("stage", STAGES)
def test_help_prints_the_docstring(stage, monkeypatch, capsys):
    module = importlib.import_module(f"stages.{stage}")
    monkeypatch.setattr(sys, "argv", [f"stages/{stage}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        run_stage(module.main, module.__doc__)
    printed = capsys.readouterr()
    assert (ended.value.code, printed.err) == (0, "")
    assert printed.out.startswith(f"usage: python -m stages.{stage} [-h]\n")
    assert module.__doc__ in printed.out


def test_a_script_run_by_its_path_prints_the_same_help():
    by_path, by_module = run("stages/fetch.py", "--help"), run("-m", "stages.fetch", "--help")
    assert by_path.stdout == by_module.stdout
    assert by_path.stdout.startswith("usage: python -m stages.fetch [-h]\n")


@pytest.mark.slow
def test_importing_the_library_changes_nothing_for_the_program_that_does():
    code = """if True:
        import csv, warnings
        before, limit = list(warnings.filters), csv.field_size_limit()
        import viadet.commands.app, viadet.detection.detector, viadet.training.trainer, viadet.via.data_files
        from viadet.via.csv_files import csv_rows
        assert csv_rows("a" * 200_000) == [["a" * 200_000]]
        added = [entry for entry in warnings.filters if entry not in before]
        print([entry for entry in added if "PIL" in str(entry) or "script" in str(entry)])
        assert csv.field_size_limit() == limit
        """
    result = run("-c", code)
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_arguments_are_refused():
    result = run("-m", "stages.convert", "--epochs", "3")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == "python -m stages.convert: error: unrecognized arguments: --epochs 3"
