"""Starting weights, from wherever `model.init` says."""

import re
import shutil
from pathlib import Path

from viadet.project.errors import UserError
from viadet.project.files import write_json
from viadet.sources.download import fetch_file
from viadet.sources.manifest import sha256_of


def fetch_start(init: str, name: str, folder: Path) -> str:
    """Fill an empty folder with the weights that `model.init` names; returns what they are.

    Raises:
        UserError: they don't exist, can't be had or are altered.
    """
    if init == "random":
        start = {"init": "random"}
    else:
        fetch_weights = {"coco": fetch_coco_weights, "imagenet": fetch_imagenet_weights}.get(init)
        path = fetch_weights(name, folder) if fetch_weights else copy_weights(Path(init), folder)
        start = {"init": init if fetch_weights else "path", "file": path.name, "sha256": sha256_of(path)}
    write_json(folder / "start.json", start)
    return start["init"]


def copy_weights(path: Path, folder: Path) -> Path:
    """Copy a checkpoint, or the model.safetensors of a folder.

    Raises:
        UserError: there is none.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.is_file() or file.suffix not in (".safetensors", ".pth", ".pt"):
        raise UserError(
            f"model.init is {str(path)!r}: no such .safetensors, .pth or .pt file; "
            "allowed are random, coco, imagenet and the path of a checkpoint"
        )
    return Path(shutil.copy(file, folder))


def fetch_coco_weights(name: str, folder: Path) -> Path:
    """Get effdet's release file for a network; eight digits at the end of its name begin its sha256.

    Raises:
        UserError: there is none, or it is altered.
    """
    from viadet.network.build import effdet_config

    url = effdet_config(name).url
    if not url:
        raise UserError(f"model.init is coco, but effdet has no COCO weights for {name}; use imagenet or random")
    path = fetch_file(url, folder)
    prefix = re.search("-([0-9a-f]{8})$", path.stem)
    digest = sha256_of(path)
    if prefix and not digest.startswith(prefix[1]):
        raise UserError(f"{path.name} is altered: its sha256 begins with {digest[:8]}; get it again")
    return path


def fetch_imagenet_weights(name: str, folder: Path) -> Path:
    """Get timm's ImageNet weights for a network's backbone, from the hub that timm names (or $HF_ENDPOINT).

    A mirror holds them as `<timm's model name>.safetensors`, such as tf_efficientnet_lite0.in1k.safetensors.

    Raises:
        UserError: there are none, or they can't be had.
    """
    import timm
    from huggingface_hub import hf_hub_url

    from viadet.network.build import effdet_config

    backbone_name = effdet_config(name).backbone_name
    backbone = timm.get_pretrained_cfg(backbone_name) if timm.is_model(backbone_name) else None
    if backbone is None or not (backbone.hf_hub_id or backbone.url):
        raise UserError(f"model.init is imagenet, but timm has no weights for {backbone_name}; use random")
    if not backbone.hf_hub_id:
        return fetch_file(backbone.url, folder)
    # Not hf_hub_download: without a network it takes 23 s to say so, in seven lines.
    url = hf_hub_url(backbone.hf_hub_id, "model.safetensors")
    return fetch_file(url, folder, f"{backbone.hf_hub_id.rpartition('/')[2]}.safetensors")
