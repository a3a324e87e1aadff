"""One finished run of the chain, shared by all tests of this folder; each module works in a copy of it."""

import shutil

import pytest
from projects import Clone, small_changes

ENVIRONMENT = {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8"}


@pytest.fixture(scope="session")
def finished_clone(tmp_path_factory):
    """A clone after an experiment with the small sample; nobody changes it."""
    clone = Clone(tmp_path_factory.mktemp("finished"))
    clone.environment |= ENVIRONMENT
    clone.run("dvc", "exp", "run", "-S", "recipe=sample", *small_changes())
    return clone


@pytest.fixture(scope="module")
def experiment(finished_clone, tmp_path_factory):
    """A copy of the finished clone for the tests of one module."""
    folder = tmp_path_factory.mktemp("experiment") / "clone"
    shutil.copytree(finished_clone.folder, folder, symlinks=True)
    return finished_clone.at(folder)
