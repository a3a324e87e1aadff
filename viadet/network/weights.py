"""Weights: what training starts from, saving and loading a network."""

import argparse
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from viadet.network.build import NetworkSpec, Normalisation, build_network
from viadet.network.effdet_parts import EfficientDet
from viadet.project.errors import UserError
from viadet.project.files import read_json, write_json

WEIGHTS_NAME = "model.safetensors"
SPEC_NAME = "model.json"
# in the training checkpoints of timm and effdet, beside the weights: the command line, and AP as numpy's number
HARMLESS_CLASSES = [
    argparse.Namespace,
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
    *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]
START_NAME = "start.json"  # beside starting weights: where they are from, what they were made for


def start_normalisation(init_dir: Path) -> Normalisation:
    """Read what the starting weights that `fetch` put into `init_dir` were made for."""
    start = read_json(init_dir / START_NAME)
    return Normalisation(start["mean"], start["std"])


def load_start(network: nn.Module, init_dir: Path) -> str:
    """Load the starting weights that `fetch` put into `init_dir`; returns a line that names them.

    Both a detector and a bare backbone are accepted. Head layers made for another number of classes stay random.

    Raises:
        UserError: the file is not a weights file, contains pickled code, or belongs to another network.
    """
    start = read_json(init_dir / START_NAME)
    if "file" not in start:
        return "random weights"
    weights = fitting_weights(network, init_dir)
    network.load_state_dict(weights, strict=False)
    return f"{start['init']} weights from {start['file']}, {len(weights)} of {len(network.state_dict())} tensors"


def fitting_weights(network: nn.Module, init_dir: Path) -> dict[str, torch.Tensor]:
    """Read the starting weights under the names of the network's tensors; none if they are random.

    Raises:
        UserError: as `load_start`.
    """
    start = read_json(init_dir / START_NAME)
    if "file" not in start:
        return {}
    weights = read_weights(init_dir / start["file"])
    expected = network.state_dict()
    if not is_detector(weights):
        expected = {key: value for key, value in expected.items() if key.startswith("backbone.")}
        names = [key.removeprefix("backbone.") for key in expected]
        renamed = timm_names if "_conv_stem.weight" in weights else backbone_names
        weights = {f"backbone.{key}": value for key, value in renamed(weights, names).items()}
    head = {key for key in expected if key.startswith("class_net.predict.")}
    fitting = {key: value for key, value in weights.items() if key in expected and value.shape == expected[key].shape}
    missing = sorted(key for key in expected.keys() - fitting.keys() - head if not key.endswith("num_batches_tracked"))
    if missing:
        raise UserError(
            f"{start['file']} does not fit this network: {len(missing)} weights, such as {missing[0]}, are missing; "
            f"set model.init to weights of {network.config.name}, or model.name to their network"
        )
    return fitting


def is_detector(weights: dict[str, torch.Tensor]) -> bool:
    """Tell the weights of a whole detector from those of a classifier, of which it takes the backbone."""
    return any(key.startswith(("class_net.", "fpn.")) for key in weights)


def backbone_names(weights: dict[str, torch.Tensor], names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Rename the weights of timm's classifier to a backbone's `names`; the layers after its last map are left out.

    In some networks timm flattens the modules of a backbone: `stages.0.conv_down` is `stages_0.conv_down` there.
    """
    by_path = {name.replace("_", "."): name for name in names}
    pairs = ((by_path.get(key.replace("_", ".")), value) for key, value in weights.items())
    return {name: value for name, value in pairs if name is not None}


def timm_names(weights: dict[str, torch.Tensor], names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Rename the weights of a classifier of https://github.com/lukemelas/EfficientNet-PyTorch to timm's `names`.

    Both implement the same network (Tan and Le 2019) with its layers in the same order; a detector's backbone ends
    before the classifier. Weights in another order are left out, those of another network get names that their shapes
    don't fit.
    """
    pairs = zip(names, weights.items(), strict=False)
    return {new: value for new, (old, value) in pairs if new.rpartition(".")[2] == old.rpartition(".")[2]}


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file or a torch checkpoint; pickled code is never run.

    Raises:
        UserError: the file is neither.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(HARMLESS_CLASSES):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError) as error:
        raise UserError(f"{path} is not a readable weights file ({str(error).splitlines()[0]})") from None
    except Exception as error:  # weights_only reports anything but tensors as UnpicklingError and its kin
        found = re.search(r"GLOBAL (\S+)", str(error))
        raise UserError(
            f"{path} contains more than weights and is not loaded, as it could run code"
            f"{f' ({found[1]})' if found else ''}; save its state_dict alone"
        ) from None
    for key in ("state_dict_ema", "state_dict", "model"):
        checkpoint = checkpoint.get(key, checkpoint) if isinstance(checkpoint, dict) else checkpoint
    if not isinstance(checkpoint, dict) or not all(isinstance(value, torch.Tensor) for value in checkpoint.values()):
        raise UserError(f"{path} does not contain a state dict")
    return {key.removeprefix("module.").removeprefix("model."): value for key, value in checkpoint.items()}


def save_network(network: nn.Module, spec: NetworkSpec, folder: Path) -> None:
    """Write weights and spec into an existing folder; the same weights give the same bytes."""
    weights = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    (folder / WEIGHTS_NAME).write_bytes(save(weights))  # safetensors' own save_file has its own error for a full disk
    write_json(folder / SPEC_NAME, spec._asdict())


def read_spec(folder: Path) -> NetworkSpec:
    """Read what a saved network was built from; `input_wh` is its input in training.

    Raises:
        UserError: the file is missing, or another version of viadet wrote it.
    """
    path = folder / SPEC_NAME
    values = read_json(path)
    if not isinstance(values, dict) or values.keys() != set(NetworkSpec._fields):
        keys = sorted(values) if isinstance(values, dict) else values
        raise UserError(
            f"{path} is of another version of viadet: it has {keys}, expected {sorted(NetworkSpec._fields)}; "
            "train again, or use the version that wrote it"
        )
    width, height = values["input_wh"]
    return NetworkSpec(**values | {"input_wh": (width, height)})


def load_network(folder: Path, device: torch.device, test_wh: tuple[int, int]) -> tuple[EfficientDet, NetworkSpec]:
    """Rebuild a saved network, ready to detect in inputs of `test_wh` px: no weight depends on their size.

    Raises:
        UserError: files are missing, or weights and spec don't belong together.
    """
    spec = read_spec(folder)._replace(input_wh=test_wh)
    network = build_network(spec)
    try:
        network.load_state_dict(read_weights(folder / WEIGHTS_NAME))
    except RuntimeError:
        raise UserError(f"{folder}: {WEIGHTS_NAME} does not belong to {SPEC_NAME}; run `dvc repro train`") from None
    return network.to(device).eval(), spec
