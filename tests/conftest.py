"""Small real projects for the tests: rendered photographs, the repository's own params with a few keys changed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

REPOSITORY = Path(__file__).resolve().parent.parent
SMALL = {  # the sample, small enough for tests
    "fetch.rendered.train_images": 6,
    "fetch.rendered.val_images": 3,
    "fetch.rendered.image_size": 128,
    "model.image_size": 128,
    "train.epochs": 2,
    "train.warmup_epochs": 1,
    "train.validate_every": 2,
    "train.device": "cpu",
}


def set_param(params: dict, key: str, value: object) -> None:
    """Change one value in place, named as in `train.lr`."""
    *path, last = key.split(".")
    for name in path:
        params = params[name]
    params[last] = value


def write_params(changes: dict | None = None, recipe: str = "sample") -> None:
    """Write params.yaml here: the repository's, with keys such as `train.lr` of one recipe changed."""
    yaml = YAML()
    params = yaml.load((REPOSITORY / "params.yaml").read_text())
    params["recipe"] = recipe
    for key, value in (changes or {}).items():
        set_param(params[recipe], key, value)
    with Path("params.yaml").open("w") as file:
        yaml.dump(params, file)


def run_module(name: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a stage here as DVC does."""
    return subprocess.run(
        [sys.executable, "-m", f"stages.{name}"],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def via_entry(name: str, *shapes: dict, attributes: dict | None = None) -> dict:
    regions = [{"shape_attributes": shape, "region_attributes": attributes or {}} for shape in shapes]
    return {"filename": name, "size": 0, "regions": regions, "file_attributes": {}}


def polygon(*points: tuple[float, float]) -> dict:
    xs, ys = zip(*points, strict=True)
    return {"name": "polygon", "all_points_x": list(xs), "all_points_y": list(ys)}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project with the small sample's params."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BALLOON_MIRROR", raising=False)
    write_params(SMALL)
    return tmp_path


@pytest.fixture
def sample(project):
    """A project with the small sample fetched and converted."""
    from stages import convert, fetch

    fetch.main()
    convert.main()
    return project


@pytest.fixture
def model(sample):
    """The same with an untrained network as data/model, biased so that it detects something."""
    import torch

    from stages.detection.network import build_network, make_spec, save_network

    torch.manual_seed(0)
    spec = make_spec("tf_efficientdet_lite0", ["balloon"], 128)
    network = build_network(spec)
    with torch.no_grad():
        network.class_net.predict.conv_pw.bias.fill_(0.0)
    Path("data/model").mkdir()
    save_network(network, spec, Path("data/model"))
    return sample


def read(path: str) -> dict:
    return json.loads(Path(path).read_text())
