"""Maps on the network's levels, and on the photograph.

A coarse map [h, w] has one value for each cell of a level and covers the whole input. Enlarged to the photograph it has
one value for each px of the input that the photograph covers, [H, W].
"""

import math

import numpy as np
import torch
from torch.nn import functional

from viadet.images.letterbox import Letterbox

BoxMaps = dict[int, np.ndarray]  # the maps of one box by level, P3 is 0: coarse ones, or all enlarged


def enlarge_to_photograph(coarse_map: np.ndarray | torch.Tensor, letterbox: Letterbox) -> np.ndarray:
    """Enlarge a coarse map [h, w] to the px of the input and crop it to the photograph, float32 [H, W].

    Cropping a coarse map before it is enlarged would shift it: one cell of P7 spans 128 px.
    """
    width, height = letterbox.input_wh
    values = torch.as_tensor(coarse_map).float()[None, None]
    enlarged = functional.interpolate(values, (height, width), mode="bilinear", align_corners=False)
    return enlarged[0, 0, : letterbox.height, : letterbox.width].numpy()


def enlarge_box_maps(coarse_maps: BoxMaps, letterbox: Letterbox) -> BoxMaps:
    """Enlarge all maps of one box to the photograph."""
    return {level: enlarge_to_photograph(coarse_map, letterbox) for level, coarse_map in coarse_maps.items()}


def crop_cells(values: np.ndarray | torch.Tensor, letterbox: Letterbox) -> np.ndarray | torch.Tensor:
    """Keep the cells of coarse maps [..., h, w] that the photograph touches, for statistics without the letterbox."""
    height, width = values.shape[-2:]
    rows = math.ceil(letterbox.height * height / letterbox.input_wh[1])
    columns = math.ceil(letterbox.width * width / letterbox.input_wh[0])
    return values[..., :rows, :columns]


def sum_of_levels(enlarged_maps: BoxMaps) -> np.ndarray:
    """Add up the positive values of one box's maps, [H, W]."""
    return np.sum([np.maximum(heat, 0) for heat in enlarged_maps.values()], axis=0)


def inside_box(shape_hw: tuple[int, int], box_xyxy: np.ndarray) -> np.ndarray:
    """Mark the pixels whose centre lies in a box, bool [H, W]."""
    y, x = np.arange(shape_hw[0])[:, None] + 0.5, np.arange(shape_hw[1])[None, :] + 0.5
    x0, y0, x1, y1 = box_xyxy
    return (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
