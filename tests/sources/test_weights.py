"""Initial weights from effdet's releases, the Hugging Face hub, mirrors and checkpoints."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from projects import spec_of
from safetensors.torch import save
from sources.data_sets import files_in, write_folder

from viadet.network.build import build_network
from viadet.network.weights import save_network
from viadet.project.errors import UserError
from viadet.project.params import ModelParams
from viadet.sources.weights import UNPINNED, check_start, copy_packaged_weights, fetch_initial_weights

NETWORK = "tf_efficientdet_lite0"
HALF = {"mean": [0.5] * 3, "std": [0.5] * 3}  # what its weights were made for
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
BACKBONE = "efficientnet_b5.sw_in12k_ft_in1k"  # that only the hub has
HUB_NETWORK = "efficientdet_d5"


def assert_start(folder: Path, init: str, name: str, data: bytes, made_for: dict = HALF) -> None:
    """Check that the folder holds these weights and their description."""
    files = files_in(folder)
    start = json.loads(files.pop("start.json"))
    assert start == {"init": init, "file": name, "sha256": hashlib.sha256(data).hexdigest()} | made_for
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
    assert {name: json.loads(data) for name, data in files_in(folder).items()} == {
        "start.json": {"init": "random"} | HALF
    }


@pytest.mark.parametrize("name", [f"lite0-{hashlib.sha256(b'weights').hexdigest()[:8]}.pth", "no-digits.pth"])
def test_coco_weights_come_from_the_url_that_effdet_names(name, folder, server, monkeypatch):
    name_coco_weights(monkeypatch, f"{server.url}/{name}")
    server.files[f"/{name}"] = b"weights"
    assert fetch_initial_weights("coco", NETWORK, folder) == "coco"
    assert_start(folder, "coco", name, b"weights", HALF | {"anchor_scale": 3.0})


def test_coco_weights_with_another_checksum_are_refused(folder, server, monkeypatch):
    name_coco_weights(monkeypatch, f"{server.url}/lite0-01234567.pth")
    server.files["/lite0-01234567.pth"] = b"weights"
    assert "lite0-01234567.pth has another checksum: its sha256 begins with 9a129038" in failure("coco", folder)


def test_coco_weights_come_from_a_mirror_first(folder, monkeypatch):
    name_coco_weights(monkeypatch, "http://balloons.invalid/lite0.pth")
    write_folder(Path("mirror"), {"lite0.pth": b"weights"})
    monkeypatch.setenv("BALLOON_MIRROR", "mirror")
    fetch_initial_weights("coco", NETWORK, folder)
    assert_start(folder, "coco", "lite0.pth", b"weights", HALF | {"anchor_scale": 3.0})


@pytest.mark.parametrize("init", ["coco", "imagenet", "random", "start.pth"])
def test_an_unknown_network_is_named_with_similar_ones(init, folder):
    line = failure(init, folder, "efficientdet_d99")
    assert "model.name is 'efficientdet_d99': effdet has no such network; it has for example efficientdet_d" in line
    assert files_in(folder) == {}


def test_coco_weights_are_normalised_as_effdet_does(folder, monkeypatch):
    from effdet.config.model_config import efficientdet_model_param_dict as known

    name = "tf_efficientdet_d0_ap"
    monkeypatch.setitem(known, name, known[name] | {"url": "http://balloons.invalid/d0.pth"})
    write_folder(Path("mirror"), {"d0.pth": b"weights"})
    monkeypatch.setenv("BALLOON_MIRROR", "mirror")
    fetch_initial_weights("coco", name, folder)
    assert_start(folder, "coco", "d0.pth", b"weights", HALF | {"anchor_scale": 4.0})


def test_all_weights_but_two_have_a_checksum():
    """The first eight digits of a sha256 end the name of effdet's and timm's files; the hub's have none."""
    import timm
    from effdet.config.model_config import efficientdet_model_param_dict as known

    coco = {params["url"] for params in known.values() if params.get("url")}
    backbones = [timm.get_pretrained_cfg(params["backbone_name"]) for params in known.values()]
    pinned = [re.search("-[0-9a-f]{8}[.]pth$", url) for url in coco | {cfg.url for cfg in backbones if cfg.url}]
    assert all(pinned)
    assert {cfg.hf_hub_id.removeprefix("timm/") for cfg in backbones if not cfg.url} == set(UNPINNED)


def test_imagenet_weights_come_from_timms_release_and_have_its_checksum(folder, monkeypatch):
    write_folder(Path("mirror"), {"tf_efficientnet_b0_ns-c0e6a31c.pth": b"backbone"})
    monkeypatch.setenv("BALLOON_MIRROR", "mirror")
    line = failure("imagenet", folder, "tf_efficientdet_d0")
    assert line.startswith("tf_efficientnet_b0_ns-c0e6a31c.pth has another checksum: its sha256 begins with ")


def test_weights_without_a_known_checksum_come_from_the_hugging_face_hub_and_say_so(folder, server, monkeypatch):
    from huggingface_hub import constants

    # The hub's client sets this from $HF_ENDPOINT when it is imported.
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    server.files[f"/timm/{BACKBONE}/resolve/main/model.safetensors"] = b"backbone"
    line = fetch_initial_weights("imagenet", HUB_NETWORK, folder)
    digest = hashlib.sha256(b"backbone").hexdigest()
    assert line == f"imagenet ({BACKBONE}.safetensors, of which no checksum is known here: its sha256 is {digest})"
    assert_start(folder, "imagenet", f"{BACKBONE}.safetensors", b"backbone", IMAGENET)


def test_imagenet_weights_come_from_a_mirror_under_timms_name(folder, monkeypatch):
    write_folder(Path("mirror"), {f"{BACKBONE}.safetensors": b"backbone"})
    monkeypatch.setenv("BALLOON_MIRROR", "mirror")
    fetch_initial_weights("imagenet", HUB_NETWORK, folder)
    assert_start(folder, "imagenet", f"{BACKBONE}.safetensors", b"backbone", IMAGENET)


@pytest.mark.parametrize("path", ["mine.safetensors", "mine.pth", "mine.pt", "model"])
def test_a_checkpoint_is_copied(path, folder):
    file = f"{path}/model.safetensors" if path == "model" else path
    weights = {"conv_stem.weight": torch.zeros(2)}
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).write_bytes(save(weights)) if file.endswith(".safetensors") else torch.save(weights, file)
    assert fetch_initial_weights(path, NETWORK, folder) == "path"
    assert_start(folder, "path", Path(file).name, Path(file).read_bytes())


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        ("classifier.safetensors", IMAGENET),
        ("detector.safetensors", HALF),
        ("old", IMAGENET | {"anchor_scale": 4.0}),
        ("old/model.safetensors", IMAGENET | {"anchor_scale": 4.0}),
    ],
)
def test_a_checkpoint_is_used_as_it_was_made(init, expected, folder):
    """Of a network that effdet normalises otherwise than timm its backbone; a model folder says it itself."""
    name = "tf_efficientdet_d0_ap"
    Path("classifier.safetensors").write_bytes(save({"conv_stem.weight": torch.zeros(2)}))
    Path("detector.safetensors").write_bytes(save({"fpn.conv.weight": torch.zeros(2)}))
    Path("old").mkdir()
    spec = spec_of(128, name=name)  # as the model of before, normalised as its backbone
    save_network(build_network(spec), spec, Path("old"))
    fetch_initial_weights(init, name, folder)
    start = json.loads((folder / "start.json").read_text(encoding="utf-8"))
    assert {key: value for key, value in start.items() if key not in ("init", "file", "sha256")} == expected


def test_weights_that_do_not_fit_are_refused_before_the_training(folder):
    torch.save({"conv_stem.weight": torch.zeros(2)}, "other.pth")
    fetch_initial_weights("other.pth", NETWORK, folder)
    model = ModelParams(name=NETWORK, init="other.pth", image_size=128, test_size=None, anchor_scale=4.0)
    with pytest.raises(
        UserError, match=r"^other\.pth does not fit this network: \d+ weights, such as backbone\..*missing"
    ):
        check_start(model, folder)
    assert fetch_initial_weights("imagenet", NETWORK, folder) == "imagenet"
    check_start(model, folder)


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
