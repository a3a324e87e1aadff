"""Weights with the names of the library efficientnet_pytorch, renamed to timm's.

Both implement the same network (Tan and Le 2019). https://github.com/lukemelas/EfficientNet-PyTorch numbers its blocks
from end to end, timm by stage; blocks without an expanding convolution name their other layers differently in timm.
"""

from collections.abc import Iterable

import torch

OUTER_LAYERS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
LAYERS = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
EXPANDING_LAYERS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def has_efficientnet_pytorch_names(names: Iterable[str]) -> bool:
    """Tell efficientnet_pytorch's names from timm's."""
    return "_conv_stem.weight" in names


def timm_names(weights: dict[str, torch.Tensor], blocks_by_stage: list[int]) -> dict[str, torch.Tensor]:
    """Rename all weights.

    Args:
        weights: of efficientnet_pytorch's classifier.
        blocks_by_stage: how many blocks each stage of timm's network has.

    Raises:
        KeyError: a name that efficientnet_pytorch does not have, or more blocks than the network has.
    """
    places = [f"blocks.{stage}.{block}" for stage, count in enumerate(blocks_by_stage) for block in range(count)]
    numbered = {str(number): place for number, place in enumerate(places)}
    renamed = {}
    for name, value in weights.items():
        *path, leaf = name.split(".")
        if path[0] == "_blocks":
            is_expanding = f"_blocks.{path[1]}._expand_conv.weight" in weights
            layer = f"{numbered[path[1]]}.{(EXPANDING_LAYERS if is_expanding else LAYERS)[path[2]]}"
        else:
            layer = OUTER_LAYERS[path[0]]
        renamed[f"{layer}.{leaf}"] = value
    return renamed
