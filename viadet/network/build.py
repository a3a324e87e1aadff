"""EfficientDet from effdet: what describes a network, building it, its input."""

from difflib import get_close_matches
from functools import cache
from typing import NamedTuple

import timm
import torch
from omegaconf import DictConfig
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import create_pool2d
from torch import nn

from viadet.network.effdet_parts import (
    EfficientDet,
    FpnCombine,
    ResampleFeatureMap,
    efficientdet_model_param_dict,
    get_efficientdet_config,
)
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


class Normalisation(NamedTuple):
    """What weights expect to be taken off the colours, and what the rest is divided by."""

    mean: list[float]  # of RGB in 0..1
    std: list[float]


def make_spec(model: ModelParams, categories: list[str], normalisation: Normalisation) -> NetworkSpec:
    """Describe a network for training from weights that were made for a normalisation."""
    return NetworkSpec(model.name, categories, model.input_wh, model.anchor_scale, *normalisation)


def detector_normalisation(name: str) -> Normalisation:
    """Look up what effdet's own weights of a whole network were made for, as its `resolve_input_config` does.

    Raises:
        UserError: effdet has no such network.
    """
    config = effdet_config(name)
    mean, std = config.get("mean", IMAGENET_DEFAULT_MEAN), config.get("std", IMAGENET_DEFAULT_STD)
    return Normalisation(list(mean), list(std))


def backbone_normalisation(name: str) -> Normalisation:
    """Look up what timm's weights of a network's backbone were made for; of some networks, effdet's differ.

    Raises:
        UserError: effdet has no such network.
    """
    backbone = timm.get_pretrained_cfg(effdet_config(name).backbone_name)
    return Normalisation(list(backbone.mean), list(backbone.std))


def build_network(spec: NetworkSpec) -> EfficientDet:
    """Build the network with random weights from torch's default generator, in `channels_last` order."""
    config = effdet_config(spec.name)
    config.image_size = spec.input_wh[::-1]
    config.anchor_scale = spec.anchor_scale
    config.num_classes = len(spec.categories)
    network = EfficientDet(config, pretrained_backbone=False)
    for module in network.modules():
        if isinstance(module, ResampleFeatureMap):
            _halve_one_side(module, config)
        if isinstance(module, FpnCombine):
            module.__class__ = AddingCombine
    return network.to(memory_format=torch.channels_last)


class AddingCombine(FpnCombine):
    """effdet's step of the neck that combines two or three maps into one, without a copy of all of them.

    effdet stacks the maps along a new last axis and sums over it; adding one to the next gives the same, but takes a
    quarter of the memory traffic.
    """

    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor:
        """Combine maps that the layers so far made, each [B, C, H, W]; `inputs_offsets` says which."""
        maps = [resample(levels[at]) for at, resample in zip(self.inputs_offsets, self.resample.values(), strict=True)]
        if self.weight_method == "sum":
            return sum(maps[1:], maps[0])
        weights = self.edge_weights.to(maps[0].dtype)
        if self.weight_method == "fastattn":
            weights = weights.relu()
            weights = weights / (weights.sum() + 0.0001)
        else:
            weights = weights.softmax(0)
        weighted = [weight * one for weight, one in zip(weights.unbind(), maps, strict=True)]
        return sum(weighted[1:], weighted[0])


def _halve_one_side(resample: ResampleFeatureMap, config: DictConfig) -> None:
    """Have the step to the next level halve a map of one row or column too, along its longer side.

    effdet's halves nothing then, so that the level has more outputs than anchors.
    """
    pairs = list(zip(resample.input_size, resample.output_size, strict=True))
    is_smaller = [before > after for before, after in pairs]
    if any(is_smaller) and not all(is_smaller):
        pool = create_pool2d(config.downsample_type, kernel_size=3, stride=2, padding=config.pad_type)
        resample.add_module("downsample", pool)


def level_names(network: nn.Module) -> list[str]:
    """Name the levels of the neck by the power of two of their stride: P3 to P7, in tf_efficientdet_d7x to P8."""
    return [f"P{level}" for level in range(network.config.min_level, network.config.max_level + 1)]


def prepare_images(images: torch.Tensor, spec: NetworkSpec, device: torch.device) -> torch.Tensor:
    """Move uint8 [B, 3, H, W] to the device and normalise them."""
    # MPS may copy later from memory that is used again by then
    images = images.to(device, non_blocking=device.type == "cuda").to(memory_format=torch.channels_last).float()
    mean, std = (colour_constant(tuple(values), device) for values in (spec.mean, spec.std))
    return images.sub_(mean).div_(std)


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
        similar = get_close_matches(name, efficientdet_model_param_dict, cutoff=0.5)
        known = ", ".join(similar or ["tf_efficientdet_lite0", "tf_efficientdet_d0", "tf_efficientdet_d1"])
        raise UserError(f"model.name is {name!r}: effdet has no such network; it has for example {known}") from None
