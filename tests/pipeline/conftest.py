"""A finished run of the chain for each module to work in."""

import shutil

import pytest


@pytest.fixture(scope="module")
def experiment(finished_clone, tmp_path_factory):
    """A copy of the finished clone for the tests of one module."""
    folder = tmp_path_factory.mktemp("experiment") / "clone"
    shutil.copytree(finished_clone.folder, folder, symlinks=True)
    return finished_clone.at(folder)
