"""Fixtures: an empty project, one with the small sample, one with a model; each test has a copy of its own."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

# One thread a process: tests run side by side, and networks are tiny. Before torch is imported, here and in stages.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from other_systems import missing_feature
from projects import SMALL, Clone, small_changes, spec_of, write_params


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Skip a test, before its fixtures run, on a system that lacks what it is marked to need."""
    for marker in item.iter_markers("needs"):
        for feature in marker.args:
            if reason := missing_feature(feature):
                pytest.skip(reason)


def pytest_xdist_auto_num_workers():
    """One worker more than cores: for a third of their time, tests wait for processes of DVC, files and signals."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else None


def pytest_collection_modifyitems(config, items):
    """Start slow tests first where workers share them, so that at the end none waits for another's last one."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: "slow" not in item.keywords)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project with the small sample's params."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BALLOON_MIRROR", raising=False)
    write_params(SMALL)
    return tmp_path


@pytest.fixture(scope="session")
def finished_sample(tmp_path_factory):
    """The small sample fetched and converted, once for all tests; nobody changes it."""
    from stages import convert, fetch

    folder = tmp_path_factory.mktemp("sample")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params(SMALL)
        fetch.main()
        convert.main()
    return folder


@pytest.fixture
def sample(project, finished_sample):
    """A project with the small sample fetched and converted."""
    for name in ("data", "metrics"):
        shutil.copytree(finished_sample / name, project / name)
    return project


@pytest.fixture(scope="session")
def finished_clones(tmp_path_factory):
    """Two clones, of different surroundings, after the same run of the small sample; at once, one of them by DVC.

    They are for the tests of xdist_group "chain"; nobody changes them.
    """
    surroundings = {
        "finished": {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8"},
        "another folder with a longer name": {
            "PYTHONHASHSEED": "4242",
            "TZ": "Pacific/Auckland",
            "LC_ALL": "C",
            "MPLBACKEND": "svg",
        },
    }
    clones = [Clone(tmp_path_factory.mktemp(name)) for name in surroundings]
    for clone, environment in zip(clones, surroundings.values(), strict=True):
        clone.environment |= environment
    finished, other = clones
    changes = ("-S", "recipe=sample", *small_changes(), "-S", "sample.train.workers=2")
    with ThreadPoolExecutor() as pool:
        by_dvc = pool.submit(other.run, "dvc", "exp", "run", *changes)
        finished.finish(SMALL)
        by_dvc.result()
    return clones


@pytest.fixture(scope="session")
def finished_clone(finished_clones):
    """The first of them."""
    return finished_clones[0]


def save_untrained(folder, seed, spec):
    """Save an untrained network, biased so that it detects something, as a model folder."""
    import torch

    from viadet.network.build import build_network
    from viadet.network.weights import save_network

    torch.manual_seed(seed)
    network = build_network(spec)
    with torch.no_grad():
        network.class_net.predict.conv_pw.bias.fill_(0.0)
    save_network(network, spec, folder)
    return folder


@pytest.fixture(scope="session")
def untrained_model(tmp_path_factory):
    """A model folder with an untrained network; nobody changes it."""
    return save_untrained(tmp_path_factory.mktemp("model"), 0, spec_of(128))


@pytest.fixture(scope="session")
def other_model(tmp_path_factory):
    """Another, of another network with inputs of another size; nobody changes it."""
    return save_untrained(tmp_path_factory.mktemp("other_model"), 1, spec_of([160, 128], name="tf_efficientdet_d0"))


@pytest.fixture
def model(sample, untrained_model):
    """The small sample with the untrained network as data/model."""
    shutil.copytree(untrained_model, Path("data/model"))
    return sample
