"""From a map on one of the network's levels to the photograph, and what of it lies where."""

import math

import numpy as np
import torch
from torch.nn import functional

from viadet.images.letterbox import Letterbox


def crop_map(values: torch.Tensor, letterbox: Letterbox) -> torch.Tensor:
    """Enlarge maps [..., h, w] of the whole input to its px and cut out what the photograph covers.

    Cropping a coarse map before it is enlarged would shift it: one cell of P7 spans 128 px.

    Returns:
        [..., letterbox.height, letterbox.width].
    """
    flat = values.reshape(1, -1, *values.shape[-2:]).float()
    width, height = letterbox.input_wh
    enlarged = functional.interpolate(flat, (height, width), mode="bilinear", align_corners=False)
    enlarged = enlarged.reshape(*values.shape[:-2], height, width)
    return enlarged[..., : letterbox.height, : letterbox.width]


def crop_cells(values: torch.Tensor, letterbox: Letterbox) -> torch.Tensor:
    """Keep the cells of maps [..., h, w] that the photograph touches, for sums and ranks without the letterbox."""
    height, width = values.shape[-2:]
    rows = math.ceil(letterbox.height * height / letterbox.input_wh[1])
    columns = math.ceil(letterbox.width * width / letterbox.input_wh[0])
    return values[..., :rows, :columns]


def strongest_channels(values: torch.Tensor, count: int) -> torch.Tensor:
    """Choose the channels of [C, h, w] with the highest mean absolute activation, strongest first."""
    return values.abs().mean((1, 2)).argsort(descending=True, stable=True)[:count]


def energy_share(heat: np.ndarray, inside: np.ndarray) -> float:
    """Tell which share of a map's sum lies inside a mask (Wang et al. 2020); 0 for a map of zeros.

    Args:
        heat: not negative, [H, W].
        inside: bool [H, W].
    """
    total = float(heat.sum(dtype=np.float64))
    return float(heat[inside].sum(dtype=np.float64)) / total if total > 0 else 0.0


def points_inside(heat: np.ndarray, inside: np.ndarray) -> bool:
    """Tell whether the largest value of a map lies inside a mask (the pointing game, Zhang et al. 2016).

    A map of zeros points nowhere.

    Args:
        heat: not negative, [H, W].
        inside: bool [H, W].
    """
    return bool(heat.max() > 0 and inside.flat[heat.argmax()])


def inside_box(shape_hw: tuple[int, int], box_xyxy: np.ndarray) -> np.ndarray:
    """Mark the pixels whose centre lies in a box, bool [H, W]."""
    y, x = np.arange(shape_hw[0])[:, None] + 0.5, np.arange(shape_hw[1])[None, :] + 0.5
    x0, y0, x1, y1 = box_xyxy
    return (x >= x0) & (x < x1) & (y >= y0) & (y < y1)


def centre_map(shape_hw: tuple[int, int], box_xyxy: np.ndarray) -> np.ndarray:
    """Make a map that knows nothing but the box: highest in its middle, lower towards its sides and beyond, [H, W]."""
    y, x = np.arange(shape_hw[0])[:, None] + 0.5, np.arange(shape_hw[1])[None, :] + 0.5
    x0, y0, x1, y1 = box_xyxy
    return -np.maximum(np.abs(x - (x0 + x1) / 2) / (x1 - x0), np.abs(y - (y0 + y1) / 2) / (y1 - y0))
