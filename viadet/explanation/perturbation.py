"""Does the score depend on the pixels that a map ranks highest? Deletion and insertion."""

import numpy as np
import torch
from torch import nn

from viadet.detection.sized_network import inputs_at_once
from viadet.explanation.targets import ForwardPass, Target
from viadet.network.anchors import flat_outputs

CURVES = ("deletion", "insertion")
FRACTIONS = (0.02, 0.05, 0.1, 0.2, 0.4)  # of the photograph's pixels
BOX_CENTRE = "BoxCentre"  # named like a method: a ranking made from the box alone, for comparison


def centre_map(shape_hw: tuple[int, int], box_xyxy: np.ndarray) -> np.ndarray:
    """Make a map from a box alone, highest in its middle, lower towards its sides and beyond, [H, W]."""
    y, x = np.arange(shape_hw[0])[:, None] + 0.5, np.arange(shape_hw[1])[None, :] + 0.5
    x0, y0, x1, y1 = box_xyxy
    return -np.maximum(np.abs(x - (x0 + x1) / 2) / (x1 - x0), np.abs(y - (y0 + y1) / 2) / (y1 - y0))


def deletion_insertion(
    network: nn.Module, forward_pass: ForwardPass, heat: np.ndarray, target: Target
) -> tuple[list[float], list[float]]:
    """Delete the pixels that a map ranks highest, or show them alone (Petsiuk et al. 2018).

    Pixels are replaced by the mean colour. With a good map deletion soon lowers the score, insertion soon restores it.

    Args:
        network: in eval mode.
        forward_pass: of the whole image.
        heat: the map, [H, W] px of the photograph in the upper left corner of the input; only its order counts.
        target: a box; its class score is followed.

    Returns:
        The score as a share of the whole image's, by FRACTIONS: without the pixels (deletion), with them alone
        (insertion).
    """
    height, width = heat.shape
    rank = np.empty(heat.size, dtype=np.int64)
    rank[np.argsort(-heat, axis=None, kind="stable")] = np.arange(heat.size)
    rank = torch.from_numpy(rank.reshape(height, width)).to(forward_pass.batch.device)
    highest = torch.stack([rank < round(fraction * heat.size) for fraction in FRACTIONS])
    inputs = forward_pass.batch.repeat(2 * len(highest), 1, 1, 1)
    inputs[:, :, :height, :width] *= torch.cat([~highest, highest])[:, None]  # zero is the mean colour
    with torch.inference_mode():
        parts = inputs.split(inputs_at_once((inputs.shape[3], inputs.shape[2]), inputs.device))
        logits = torch.cat([flat_outputs(*network(part))[0] for part in parts])
        score, whole_score = (
            outputs[..., target.anchors, target.label - 1].float().sigmoid().mean(-1)
            for outputs in (logits, forward_pass.logits)
        )
    shares = (score / whole_score).tolist()
    return shares[: len(highest)], shares[len(highest) :]
