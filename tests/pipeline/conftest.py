"""A finished run of the chain for each module to work in."""

import pytest


@pytest.fixture(scope="module")
def experiment(finished_clone, tmp_path_factory):
    """A copy of the finished clone for the tests of one module."""
    return finished_clone.copy_to(tmp_path_factory.mktemp("experiment") / "clone")
