"""EfficientDet from effdet: building it, its starting weights, saving and loading."""

import ctypes
import os
import sys
from pathlib import Path
from typing import NamedTuple

import timm
import torch
from effdet import EfficientDet
from effdet.config import get_efficientdet_config
from omegaconf import DictConfig
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from stages.detection.cli import StageError
from stages.detection.files import read_json, write_json
from stages.detection.params import ModelParams

WEIGHTS_NAME = "model.safetensors"
SPEC_NAME = "model.json"


class NetworkSpec(NamedTuple):
    """All it takes to rebuild a network for its weights."""

    name: str  # effdet's
    categories: list[str]  # label 1 is the first
    input_wh: tuple[int, int]  # px
    anchor_scale: float  # side of a level's smallest anchor, in its strides
    mean: list[float]  # of RGB in 0..1
    std: list[float]

    @property
    def fill_rgb(self) -> tuple[int, int, int]:
        """The colour beside a letterboxed photograph: the mean, so zero once normalised."""
        red, green, blue = (round(255 * value) for value in self.mean)
        return red, green, blue


def make_spec(model: ModelParams, categories: list[str]) -> NetworkSpec:
    """Describe a network for training; mean and deviation are those its backbone was made for.

    Raises:
        StageError: effdet has no such network.
    """
    backbone = timm.get_pretrained_cfg(effdet_config(model.name).backbone_name)
    return NetworkSpec(
        model.name, categories, model.input_wh, model.anchor_scale, list(backbone.mean), list(backbone.std)
    )


def build_network(spec: NetworkSpec) -> EfficientDet:
    """Build the network with random weights from torch's default generator, in `channels_last` order."""
    config = effdet_config(spec.name)
    config.image_size = spec.input_wh[::-1]
    config.anchor_scale = spec.anchor_scale
    config.num_classes = len(spec.categories)
    return EfficientDet(config, pretrained_backbone=False).to(memory_format=torch.channels_last)


def level_names(network: nn.Module) -> list[str]:
    """Name the levels of the neck by the power of two of their stride: P3 to P7, in tf_efficientdet_d7x to P8."""
    return [f"P{level}" for level in range(network.config.min_level, network.config.max_level + 1)]


def prepare_images(images: torch.Tensor, spec: NetworkSpec, device: torch.device) -> torch.Tensor:
    """Move uint8 [B, 3, H, W] to the device and normalise them."""
    images = images.to(device, non_blocking=True).to(memory_format=torch.channels_last).float()
    mean = torch.tensor(spec.mean, device=device).view(3, 1, 1) * 255
    std = torch.tensor(spec.std, device=device).view(3, 1, 1) * 255
    return (images - mean) / std


def pick_device(name: str = "auto", deterministic: bool = True) -> torch.device:
    """Choose `cuda`, `cpu`, or with `auto` CUDA when there is one.

    Args:
        name: of the device.
        deterministic: have torch take only algorithms that give the same result again, for the whole process: on CUDA
            those that torch knows, on a CPU those of AVX2. Call this before any computing, as torch then settles it.

    Raises:
        StageError: CUDA is asked for and absent.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise StageError("train.device is cuda, but torch sees no CUDA GPU here; use auto or cpu")
    device = torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
    if deterministic and torch.cpu.get_capabilities().get("avx512_f"):
        # AVX-512 code adds up in another order, so that training drifts; AVX2 is what nearly all CPUs have in common
        os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx2")
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    if device.type == "cuda" and deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS wants it before its first use
        # a warning names what has no such algorithm, rather than ending a run that needs it
        torch.use_deterministic_algorithms(True, warn_only=True)
    return device


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next step.

    By default it hands every large activation back to the system, which then clears each page anew: half the time of a
    training step on two CPU cores (0.93 s against 0.55 s for eight images of 256 px), and of a detection.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**28)):
            libc.mallopt(option, value)


def load_start(network: nn.Module, init_dir: Path) -> str:
    """Load the starting weights that `fetch` laid into `init_dir`; returns a line that says which.

    A whole detector and a bare backbone are both taken. Head layers made for another number of classes stay random.

    Raises:
        StageError: the file is no weights file, holds pickled code, or fits another network.
    """
    start = read_json(init_dir / "start.json")
    if "file" not in start:
        return "random weights"
    path = init_dir / start["file"]
    weights = read_weights(path)
    weights = {key.removeprefix("module.").removeprefix("model."): value for key, value in weights.items()}
    own = network.state_dict()
    if not any(key.startswith(("class_net.", "fpn.")) for key in weights):
        # timm's classifiers: the part behind the last feature map has no place in a detector
        behind = ("conv_head.", "bn2.", "classifier.")
        weights = {f"backbone.{key}": value for key, value in weights.items() if not key.startswith(behind)}
        own = {key: value for key, value in own.items() if key.startswith("backbone.")}
    head = {key for key in own if key.startswith("class_net.predict.")}
    fitting = {key: value for key, value in weights.items() if key in own and value.shape == own[key].shape}
    missing = sorted(key for key in own.keys() - fitting.keys() - head if not key.endswith("num_batches_tracked"))
    if missing:
        raise StageError(f"{path} does not fit this network: {len(missing)} weights, such as {missing[0]}, are missing")
    network.load_state_dict(fitting, strict=False)
    return f"{start['init']} weights from {start['file']}, {len(fitting)} of {len(network.state_dict())} tensors"


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file or a torch checkpoint; pickled code is never run.

    Raises:
        StageError: the file is neither.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError) as error:
        raise StageError(f"{path} is no readable weights file ({str(error).splitlines()[0]})") from None
    except Exception as error:  # weights_only reports anything but tensors as UnpicklingError and its kin
        reason = str(error).splitlines()[0]
        raise StageError(f"{path} holds more than weights and is not loaded, as it could run code ({reason})") from None
    for key in ("state_dict_ema", "state_dict", "model"):
        checkpoint = checkpoint.get(key, checkpoint) if isinstance(checkpoint, dict) else checkpoint
    if not isinstance(checkpoint, dict) or not all(isinstance(value, torch.Tensor) for value in checkpoint.values()):
        raise StageError(f"{path} holds no table of weights")
    return checkpoint


def save_network(network: nn.Module, spec: NetworkSpec, folder: Path) -> None:
    """Write weights and spec into an existing folder; the same weights give the same bytes."""
    weights = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    (folder / WEIGHTS_NAME).write_bytes(save(weights))  # safetensors' own save_file has its own error for a full disk
    write_json(folder / SPEC_NAME, spec._asdict())


def load_network(folder: Path, device: torch.device, test_wh: tuple[int, int]) -> tuple[EfficientDet, NetworkSpec]:
    """Rebuild a saved network, ready to detect in inputs of `test_wh` px: no weight depends on their size.

    Raises:
        StageError: files are absent, or weights and spec don't belong together.
    """
    spec = NetworkSpec(**read_json(folder / SPEC_NAME))._replace(input_wh=test_wh)
    network = build_network(spec)
    try:
        network.load_state_dict(read_weights(folder / WEIGHTS_NAME))
    except RuntimeError:
        raise StageError(f"{folder}: {WEIGHTS_NAME} does not belong to {SPEC_NAME}; run `dvc repro train`") from None
    return network.to(device).eval(), spec


def effdet_config(name: str) -> DictConfig:
    """Look up effdet's description of a network.

    Raises:
        StageError: effdet has no such network.
    """
    try:
        return get_efficientdet_config(name)
    except KeyError:
        known = "tf_efficientdet_lite0, tf_efficientdet_d0, tf_efficientdet_d1"
        raise StageError(f"model.name is {name!r}: effdet has no such network; it has for example {known}") from None
