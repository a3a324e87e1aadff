"""From a map on one of the network's levels to the photograph: the letterbox is cut away, so that both align."""

import numpy as np
import torch
from torch.nn import functional

from stages.detection.images import Letterbox


def crop_map(values: torch.Tensor, image_size: int, letterbox: Letterbox) -> torch.Tensor:
    """Enlarge maps [..., h, w] of the whole input to its px and cut out what the photograph covers.

    Cropping a coarse map before it is enlarged would shift it: one cell of P7 spans 128 px.

    Returns:
        [..., letterbox.height, letterbox.width].
    """
    flat = values.reshape(1, -1, *values.shape[-2:]).float()
    enlarged = functional.interpolate(flat, (image_size, image_size), mode="bilinear", align_corners=False)
    enlarged = enlarged.reshape(*values.shape[:-2], image_size, image_size)
    return enlarged[..., : letterbox.height, : letterbox.width]


def strongest_channels(values: torch.Tensor, count: int) -> torch.Tensor:
    """Choose the channels of [C, h, w] with the highest mean absolute activation, strongest first."""
    return values.abs().mean((1, 2)).argsort(descending=True, stable=True)[:count]


def energy_share(heat: np.ndarray, boxes_xyxy: np.ndarray) -> float | None:
    """Tell which share of a map's sum lies inside the union of boxes.

    Args:
        heat: not negative, [H, W] in the px of the letterboxed photograph.
        boxes_xyxy: [N, 4] in the same px; a pixel belongs to a box that holds its centre.

    Returns:
        0 to 1, or None for a map of zeros.
    """
    total = float(heat.sum())
    if total <= 0:
        return None
    return float(heat[inside_boxes(heat.shape, boxes_xyxy)].sum()) / total


def inside_boxes(shape_hw: tuple[int, int], boxes_xyxy: np.ndarray) -> np.ndarray:
    """Mark the pixels whose centre lies in at least one box, bool [H, W]."""
    y, x = np.arange(shape_hw[0])[:, None] + 0.5, np.arange(shape_hw[1])[None, :] + 0.5
    inside = np.zeros(shape_hw, dtype=bool)
    for x0, y0, x1, y1 in boxes_xyxy:
        inside |= (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    return inside
