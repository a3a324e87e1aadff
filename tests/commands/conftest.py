"""Fixtures: a finished sweep, whose tests run on one worker of pytest-xdist so that it is trained once."""

import contextlib

import pytest
from dvc.repo import Repo
from projects import Clone

RATES = {"sweep-1": 0.002, "sweep-2": 0.004}  # one is the sample's own


@pytest.fixture(scope="session")
def sweep(finished_clone, tmp_path_factory):
    """A clone with the small sample committed and two learning rates tried from a queue; tests only add to it."""
    clone = finished_clone.copy_to(tmp_path_factory.mktemp("sweep") / "clone").with_identity()
    clone.run("dvc", "remote", "add", "-d", "store", "../../store")  # relative to .dvc/config
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "-m", "Small sample")
    rates = ",".join(str(rate) for rate in RATES.values())
    clone.run("dvc", "exp", "run", "--queue", "-n", "sweep", "-S", f"sample.train.lr={rates}")
    clone.output = clone.run("dvc", "exp", "run", "--run-all", "-j", "1")
    return clone


@pytest.fixture(scope="session")
def rates():
    """The learning rate of each experiment of the sweep."""
    return RATES


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """A clone that has the working tree committed, with its metrics and curves; nothing is run.

    In its dvc.lock, code and params are those of the working tree, so that its figures count as its own.
    """
    clone = Clone(tmp_path_factory.mktemp("committed")).with_identity()
    with contextlib.chdir(clone.folder), Repo() as repo:
        for stage in repo.stage.load_all("dvc.yaml"):
            for dependency in stage.deps:
                if dependency.exists:
                    dependency.save()
            stage.dump(update_pipeline=False)
    clone.run("git", "commit", "--quiet", "--all", "--allow-empty", "-m", "as if run")
    return clone
