"""Photographs as tensors, and empty canvases."""

from pathlib import Path

import numpy as np
import torch

from viadet.images.decoding import decode_image


def read_image(path: Path, max_side: int | None = None) -> torch.Tensor:
    """Read a photograph upright as RGB, uint8 [3, H, W]; path, `max_side` and errors are those of `decode_image`."""
    return torch.from_numpy(np.array(decode_image(path, max_side))).permute(2, 0, 1).contiguous()


def blank_canvas(size_wh: tuple[int, int], fill_rgb: tuple[int, int, int]) -> torch.Tensor:
    """Make an empty image of one colour, uint8 [3, height, width]."""
    return torch.tensor(fill_rgb, dtype=torch.uint8).view(3, 1, 1).repeat(1, size_wh[1], size_wh[0])
