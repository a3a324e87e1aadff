"""Tests are collected, and skipped with a reason, on systems that lack what some of them need."""

import re
import subprocess
import sys

import pytest
from other_systems import missing_feature
from projects import REPOSITORY

# Takes away what Windows lacks before pytest starts: modules from this project's code alone, as libraries choose by
# sys.platform what they import, and functions and signals once the libraries are imported.
LIKE_WINDOWS = """
import builtins, os, pathlib, signal, sys
import dvc.repo, dvc.utils.hydra, effdet, hypothesis, onnx, playwright.sync_api, psutil, pycocotools.coco, pytest, torch

ROOT = os.getcwd()
system_import = builtins.__import__

def import_as_on_windows(name, globals=None, *others, **options):
    file = (globals or {}).get("__file__") or ""
    if name in ("resource", "fcntl", "pwd", "grp", "termios") and pathlib.Path(file).is_relative_to(ROOT):
        raise ModuleNotFoundError(f"No module named {name!r}")
    return system_import(name, globals, *others, **options)

builtins.__import__ = import_as_on_windows
for module, names in ((os, ("fork", "killpg", "sched_setaffinity")), (signal, ("SIGKILL", "SIGHUP", "SIGALRM"))):
    for name in names:
        delattr(module, name)
sys.exit(pytest.main(sys.argv[1:]))
"""
# a fast test for each reason; they are skipped before their fixtures run
NEEDING = "test_an_interrupted_command_ends_in_one_line or picture_cannot_be_written"


@pytest.mark.slow
@pytest.mark.needs("linux")
def test_all_tests_are_collected_without_what_windows_lacks_and_those_that_need_it_are_skipped_with_the_reason():
    command = [sys.executable, "-c", LIKE_WINDOWS, "-n", "0", "-p", "no:cacheprovider", "-rs", "-k", NEEDING]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert re.match(r"3 skipped, \d{3,} deselected", result.stdout.splitlines()[-1])  # collecting had no error
    assert "Windows has no signals for groups of processes" in result.stdout
    assert "this system has no limit of a process's files" in result.stdout


def test_an_unknown_feature_is_an_error():
    with pytest.raises(KeyError):
        missing_feature("telepathy")
