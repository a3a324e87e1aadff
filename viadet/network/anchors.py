"""The network's outputs as one list of anchors, P3's first."""

import torch
from torch import nn

from viadet.network.build import level_names
from viadet.network.effdet_parts import Anchors


def flat_outputs(class_out: list[torch.Tensor], box_out: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Concatenate the outputs of all levels in the order of effdet's anchors.

    Args:
        class_out: by level, [B, 9 * K, H, W].
        box_out: by level, [B, 9 * 4, H, W].

    Returns:
        Class logits [B, A, K] and box codes [B, A, 4].
    """
    num_classes = class_out[0].shape[1] * 4 // box_out[0].shape[1]
    # flatten and unflatten: a reshape to so many images would fix the batch's size in an exported file
    logits = [level.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, num_classes)) for level in class_out]
    codes = [level.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 4)) for level in box_out]
    return torch.cat(logits, 1), torch.cat(codes, 1)


def anchors_of(network: nn.Module, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Make all anchors, float32 [A, 4] as yxyx px of the network's input, and the level of each, int64 [A]."""
    anchors = Anchors.from_config(network.config)
    sizes_hw = anchors.feat_sizes[anchors.min_level : anchors.max_level + 1]
    per_level = [height * width * anchors.get_anchors_per_location() for height, width in sizes_hw]
    levels = torch.arange(len(level_names(network))).repeat_interleave(torch.tensor(per_level))
    return anchors.boxes.to(device), levels.to(device)
