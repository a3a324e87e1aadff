"""Photographs in memory: reading them upright, fitting them into the network's input, the px of a polygon."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pycocotools import mask as mask_tools
from torchvision.transforms.v2 import functional as F

from stages.detection.decode import decode_image


class Letterbox(NamedTuple):
    """Where a photograph lies in the network's input: scaled evenly, in the upper left corner.

    A point of the original image lies at `point * scale_xy` in the input.
    """

    width: int  # px of the input that the photograph covers
    height: int
    scale_xy: tuple[float, float]  # input px per original px; both differ only by rounding to whole pixels
    input_wh: tuple[int, int]  # px of the whole input


def read_image(path: Path, max_side: int | None = None) -> torch.Tensor:
    """Read a photograph upright (EXIF orientation applied) as RGB.

    Args:
        path: as decode_image takes it.
        max_side: a larger photograph is reduced, in proportion, until its longer side is this many px.

    Returns:
        uint8 [3, H, W].

    Raises:
        StageError: the file is absent or can't be decoded.
    """
    return torch.from_numpy(np.array(decode_image(path, max_side))).permute(2, 0, 1).contiguous()


def letterbox_of(width: int, height: int, input_wh: tuple[int, int]) -> Letterbox:
    """Fit an image of `width` x `height` px into an input of `input_wh` px."""
    scale = min(input_wh[0] / width, input_wh[1] / height)
    fitted_width = max(1, min(input_wh[0], round(width * scale)))
    fitted_height = max(1, min(input_wh[1], round(height * scale)))
    return Letterbox(fitted_width, fitted_height, (fitted_width / width, fitted_height / height), input_wh)


def letterbox_image(image: torch.Tensor, input_wh: tuple[int, int], fill_rgb: tuple[int, int, int]) -> torch.Tensor:
    """Put a photograph, uint8 [3, H, W], into the network's input, uint8 [3, input height, input width]."""
    _, height, width = image.shape
    box = letterbox_of(width, height, input_wh)
    canvas = blank_canvas(input_wh, fill_rgb)
    canvas[:, : box.height, : box.width] = F.resize(image, [box.height, box.width], antialias=True)
    return canvas


def blank_canvas(size_wh: tuple[int, int], fill_rgb: tuple[int, int, int]) -> torch.Tensor:
    """Make an empty image of one colour, uint8 [3, height, width]."""
    return torch.tensor(fill_rgb, dtype=torch.uint8).view(3, 1, 1).repeat(1, size_wh[1], size_wh[0])


def polygon_mask(polygon: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Pixels inside a polygon [points, 2], which may reach outside; bool [height, width]."""
    outline = mask_tools.frPyObjects([polygon.double().flatten().tolist()], height, width)
    return torch.from_numpy(mask_tools.decode(outline)[:, :, 0].astype(bool))
