"""Initial weights from effdet's releases, the Hugging Face hub, mirrors and checkpoints."""

import hashlib
import json
from pathlib import Path

import pytest
from sources.data_sets import files_in, write_folder

from viadet.project.errors import UserError
from viadet.sources.weights import copy_packaged_weights, fetch_initial_weights

NETWORK = "tf_efficientdet_lite0"
BACKBONE = "tf_efficientnet_b0.ns_jft_in1k"  # of a network without packaged weights
HUB_NETWORK = "tf_efficientdet_d0"


def assert_start(folder: Path, init: str, name: str, data: bytes) -> None:
    """Check that the folder holds these weights and their description."""
    files = files_in(folder)
    start = json.loads(files.pop("start.json"))
    assert start == {"init": init, "file": name, "sha256": hashlib.sha256(data).hexdigest()}
    assert files == {name: data}


def failure(init: str, folder: Path, network_name: str = NETWORK) -> str:
    with pytest.raises(UserError) as caught:
        fetch_initial_weights(init, network_name, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def name_coco_weights(monkeypatch, url: str) -> None:
    """Make effdet name another URL."""
    from effdet.config.model_config import efficientdet_model_param_dict as known

    monkeypatch.setitem(known, NETWORK, known[NETWORK] | {"url": url})


def test_random_weights_have_no_file(folder):
    assert fetch_initial_weights("random", NETWORK, folder) == "random"
    assert {name: json.loads(data) for name, data in files_in(folder).items()} == {"start.json": {"init": "random"}}


@pytest.mark.parametrize("name", [f"lite0-{hashlib.sha256(b'weights').hexdigest()[:8]}.pth", "no-digits.pth"])
def test_coco_weights_come_from_the_url_that_effdet_names(name, folder, server, monkeypatch):
    name_coco_weights(monkeypatch, f"{server.url}/{name}")
    server.files[f"/{name}"] = b"weights"
    assert fetch_initial_weights("coco", NETWORK, folder) == "coco"
    assert_start(folder, "coco", name, b"weights")


def test_coco_weights_with_another_checksum_are_refused(folder, server, monkeypatch):
    name_coco_weights(monkeypatch, f"{server.url}/lite0-01234567.pth")
    server.files["/lite0-01234567.pth"] = b"weights"
    assert "lite0-01234567.pth has another checksum: its sha256 begins with 9a129038" in failure("coco", folder)


def test_coco_weights_come_from_a_mirror_first(folder, monkeypatch):
    name_coco_weights(monkeypatch, "http://balloons.invalid/lite0.pth")
    write_folder(Path("mirror"), {"lite0.pth": b"weights"})
    monkeypatch.setenv("BALLOON_MIRROR", "mirror")
    fetch_initial_weights("coco", NETWORK, folder)
    assert_start(folder, "coco", "lite0.pth", b"weights")


def test_a_network_without_coco_weights_is_named(folder):
    line = failure("coco", folder, "efficientdet_d2")
    assert "effdet has no COCO weights for efficientdet_d2; use imagenet or random" in line


@pytest.mark.parametrize("init", ["coco", "imagenet"])
def test_an_unknown_network_is_named_with_known_ones(init, folder):
    line = failure(init, folder, "efficientdet_d99")
    assert "model.name is 'efficientdet_d99'" in line
    assert NETWORK in line


def test_imagenet_weights_come_from_the_hugging_face_hub(folder, server, monkeypatch):
    from huggingface_hub import constants

    # The hub's client sets this from $HF_ENDPOINT when it is imported.
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    server.files[f"/timm/{BACKBONE}/resolve/main/model.safetensors"] = b"backbone"
    assert fetch_initial_weights("imagenet", HUB_NETWORK, folder) == "imagenet"
    assert_start(folder, "imagenet", f"{BACKBONE}.safetensors", b"backbone")


def test_imagenet_weights_come_from_a_mirror_under_timms_name(folder, monkeypatch):
    write_folder(Path("mirror"), {f"{BACKBONE}.safetensors": b"backbone"})
    monkeypatch.setenv("BALLOON_MIRROR", "mirror")
    fetch_initial_weights("imagenet", HUB_NETWORK, folder)
    assert_start(folder, "imagenet", f"{BACKBONE}.safetensors", b"backbone")


@pytest.mark.parametrize("path", ["mine.safetensors", "mine.pth", "mine.pt", "model"])
def test_a_checkpoint_is_copied(path, folder):
    file = f"{path}/model.safetensors" if path == "model" else path
    write_folder(Path(), {file: b"weights"})
    assert fetch_initial_weights(path, NETWORK, folder) == "path"
    assert_start(folder, "path", Path(file).name, b"weights")


@pytest.mark.parametrize("path", ["missing.pth", "empty", "notes.txt", "coc"])
def test_anything_else_is_refused_with_what_is_allowed(path, folder):
    Path("empty").mkdir()
    Path("notes.txt").write_text("no weights", encoding="utf-8")
    line = failure(path, folder)
    assert f"model.init is {path!r}" in line
    assert "allowed are random, coco, imagenet and the path of a checkpoint" in line


@pytest.mark.parametrize("size", ["lite0", "lite1", "lite2"])
def test_imagenet_weights_of_lite_networks_come_from_installed_packages(size, folder, monkeypatch):
    monkeypatch.setenv("BALLOON_MIRROR", "http://balloons.invalid")  # no request is made
    assert fetch_initial_weights("imagenet", f"tf_efficientdet_{size}", folder) == "imagenet"
    files = files_in(folder)
    start = json.loads(files.pop("start.json"))
    (name,) = files
    assert start["file"] == name
    assert start["sha256"].startswith(Path(name).stem.rpartition("-")[2])  # as in the names of torch's own weights


def test_a_package_that_is_not_installed_is_named(folder):
    with pytest.raises(UserError, match="the package efficientnet-lite9-pytorch-model is missing; run `uv sync"):
        copy_packaged_weights("efficientnet-lite9-pytorch-model", folder)
