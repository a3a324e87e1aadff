"""EfficientDet from effdet: what describes a network, building it, its input."""

from functools import cache
from typing import NamedTuple

import timm
import torch
from effdet import EfficientDet
from effdet.config import get_efficientdet_config
from omegaconf import DictConfig
from torch import nn

from viadet.project.errors import UserError
from viadet.project.params import ModelParams


class NetworkSpec(NamedTuple):
    """All that is needed to rebuild a network for its weights."""

    name: str  # effdet's
    categories: list[str]  # label 1 is the first
    input_wh: tuple[int, int]  # px
    anchor_scale: float  # side of a level's smallest anchor, in its strides
    mean: list[float]  # of RGB in 0..1
    std: list[float]

    @property
    def fill_rgb(self) -> tuple[int, int, int]:
        """The colour of the padding beside a letterboxed photograph: the mean, which is zero once normalised."""
        red, green, blue = (round(255 * value) for value in self.mean)
        return red, green, blue


def make_spec(model: ModelParams, categories: list[str]) -> NetworkSpec:
    """Describe a network for training; mean and deviation are those its backbone was made for.

    Raises:
        UserError: effdet has no such network.
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
    # MPS may copy later from memory that is used again by then
    images = images.to(device, non_blocking=device.type == "cuda").to(memory_format=torch.channels_last).float()
    mean, std = (colour_constant(tuple(values), device) for values in (spec.mean, spec.std))
    return (images - mean) / std


@cache
def colour_constant(rgb: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """Move a mean or deviation of RGB in 0..1 to the device once, as [3, 1, 1] in 0..255: each copy makes CUDA wait."""
    with torch.inference_mode(False):  # else training could not use what a detection made first
        return torch.tensor(rgb, device=device).view(3, 1, 1) * 255


def effdet_config(name: str) -> DictConfig:
    """Look up effdet's description of a network.

    Raises:
        UserError: effdet has no such network.
    """
    try:
        return get_efficientdet_config(name)
    except KeyError:
        known = "tf_efficientdet_lite0, tf_efficientdet_d0, tf_efficientdet_d1"
        raise UserError(f"model.name is {name!r}: effdet has no such network; it has for example {known}") from None
