"""From a file as effdet publishes it, behind a server, to a training that starts from it."""

import hashlib
import io
from pathlib import Path

import pytest
import torch
from effdet import EfficientDet, get_efficientdet_config
from effdet.config.model_config import efficientdet_model_param_dict
from effdet.data import resolve_input_config
from projects import SMALL, read, stage_error, write_params
from safetensors.torch import load_file
from sources.data_sets import files_in

from stages import fetch, train
from viadet.network.build import build_network, make_spec
from viadet.network.weights import load_start, start_normalisation
from viadet.project.params import read_recipe

INIT_DIR = Path("data/init")
HEAD = {f"class_net.predict.conv_pw.{name}" for name in ("weight", "bias")}
NETWORK = "tf_efficientdet_lite1"


def random_state(name: str) -> dict[str, torch.Tensor]:
    """The state dict of effdet's own network for COCO's 90 classes, in which no tensor is as it was built."""
    torch.manual_seed(7)
    state = EfficientDet(get_efficientdet_config(name), pretrained_backbone=False).state_dict()
    assert state["class_net.predict.conv_pw.bias"].shape == (9 * 90,)
    for value in state.values():
        value.add_(torch.rand(value.shape) / 10 if value.is_floating_point() else 5)
    return state


def in_bytes(state: dict[str, torch.Tensor], **options: bool) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, **options)
    return file.getvalue()


def averaged(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As effdet's avg_checkpoints.py writes it: a plain dict, also the counters of batches are float32."""
    return {key: value.float() for key, value in state.items()}


@pytest.fixture
def publish(server, monkeypatch):
    """Have effdet name a file on the server, and the server hold it; gives the file's name."""

    def give(network_name: str, data: bytes, digits: str | None = None) -> str:
        name = f"{network_name}_40-{digits or hashlib.sha256(data).hexdigest()[:8]}.pth"
        server.files[f"/{name}"] = data
        known = efficientdet_model_param_dict[network_name]
        monkeypatch.setitem(efficientdet_model_param_dict, network_name, known | {"url": f"{server.url}/{name}"})
        return name

    return give


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network_name", "form", "options"),
    [
        (NETWORK, dict, {}),
        ("tf_efficientdet_d0", lambda state: state, {"_use_new_zipfile_serialization": False}),  # torch's form of 2020
        ("efficientdet_d0", averaged, {}),
    ],
)
def test_a_training_starts_from_all_of_the_published_file_but_its_class_head(
    network_name, form, options, sample, publish, server, capsys
):
    state = random_state(network_name)
    file = publish(network_name, in_bytes(form(state), **options))
    # a frozen backbone shows after the training what it began with
    changes = {"model.name": network_name, "model.init": "coco", "train.frozen_stages": 7}
    write_params(SMALL | changes | {"train.freeze_batch_norm": True, "train.epochs": 1})
    fetch.main()
    assert server.requests == [f"/{file}"]

    recipe = read_recipe()
    network = build_network(make_spec(recipe.model, ["balloon"], start_normalisation(INIT_DIR)))
    count = len(state)
    line = f"coco weights from {file}, {count - 2} of {count} tensors"
    assert load_start(network, INIT_DIR) == line
    loaded = network.state_dict()
    assert loaded.keys() == state.keys()
    assert {key for key, value in state.items() if not torch.equal(loaded[key], value)} == HEAD

    capsys.readouterr()
    train.main()
    assert line in capsys.readouterr().out
    trained = load_file("data/model/model.safetensors")
    assert trained["class_net.predict.conv_pw.bias"].shape == (9,)
    assert all(torch.equal(value, state[key]) for key, value in trained.items() if key.startswith("backbone."))
    assert not torch.equal(trained["box_net.predict.conv_pw.bias"], state["box_net.predict.conv_pw.bias"])
    spec, expected = read("data/model/model.json"), resolve_input_config({}, get_efficientdet_config(network_name))
    assert (spec["mean"], spec["std"]) == (list(expected["mean"]), list(expected["std"]))


@pytest.mark.parametrize(
    ("digits", "faults", "expected"),
    [
        ("01234567", [], "{name} has another checksum: its sha256 begins with {digest}; download it again"),
        (None, ["announce less"], "{name} has another checksum: its sha256 begins with "),
        (None, ["truncate"] * 4, "download failed: {url}/{name} (incomplete download); set BALLOON_MIRROR=<folder or"),
        (None, [403], "download failed: {url}/{name} (HTTP 403); set BALLOON_MIRROR=<folder or URL that holds {name}>"),
    ],
)
def test_a_file_that_is_not_the_published_one_ends_fetch_with_one_line(
    digits, faults, expected, sample, publish, server, quick_retries
):
    data = b"weights" * 1000
    name = publish(NETWORK, data, digits)
    server.faults += faults
    write_params(SMALL | {"model.name": NETWORK, "model.init": "coco"})
    before = files_in(Path("data"))
    line = stage_error("fetch")
    digest = hashlib.sha256(data).hexdigest()[:8]
    assert expected.format(name=name, digest=digest, url=server.url) in line
    assert "\n" not in line
    assert files_in(Path("data")) == before


@pytest.mark.parametrize(
    ("network_name", "similar"),
    [
        ("efficientdet_d3", "tf_efficientdet_d3"),
        ("efficientdet_lite0", "tf_efficientdet_lite0"),
        ("cspresdext50", "cspresdet50"),
    ],
)
def test_a_network_without_published_weights_ends_fetch_with_one_that_has_some(network_name, similar, sample):
    write_params(SMALL | {"model.name": network_name, "model.init": "coco"})
    before = files_in(Path("data"))
    line = stage_error("fetch")
    assert line.endswith(
        f"model.init is coco, but effdet has no COCO weights for {network_name}; use imagenet or random, or for "
        f"example {similar}, which has some"
    )
    assert files_in(Path("data")) == before


def test_the_published_file_from_a_mirror_or_as_a_path_starts_the_same(sample, publish, monkeypatch):
    data = in_bytes(random_state(NETWORK))
    name = publish(NETWORK, b"unreachable", hashlib.sha256(data).hexdigest()[:8])
    Path("mirror").mkdir()
    Path("mirror", name).write_bytes(data)
    starts = {}
    for init in ("coco", f"mirror/{name}"):
        write_params(SMALL | {"model.name": NETWORK, "model.init": init})
        monkeypatch.setenv("BALLOON_MIRROR", "mirror")
        fetch.main()
        starts[init] = read(INIT_DIR / "start.json")
        assert (INIT_DIR / name).read_bytes() == data
    by_mirror, by_path = starts.values()
    assert by_mirror == by_path | {"init": "coco", "anchor_scale": 3.0}
