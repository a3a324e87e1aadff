"""Photographs as tensors, and empty canvases."""

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from viadet.images.decoding import decode_image


def read_image(path: Path, max_side: int | None = None) -> torch.Tensor:
    """Read a photograph upright as RGB, uint8 [3, H, W]; path, `max_side` and errors are those of `decode_image`."""
    return torch.from_numpy(np.array(decode_image(path, max_side))).permute(2, 0, 1).contiguous()


def blank_canvas(size_wh: tuple[int, int], fill_rgb: tuple[int, int, int]) -> torch.Tensor:
    """Make an empty image of one colour, uint8 [3, height, width]."""
    return torch.tensor(fill_rgb, dtype=torch.uint8).view(3, 1, 1).repeat(1, size_wh[1], size_wh[0])


def resize(image: torch.Tensor, size_wh: tuple[int, int], mode: str = "bilinear") -> torch.Tensor:
    """Resize an image, uint8 [C, H, W], with antialiasing, to the same bytes on any processor.

    Args:
        image: fastest if its channels lie side by side in memory, as those of the result do.
        size_wh: px.
        mode: that of `interpolate`, `bilinear` or the sharper `bicubic`.
    """
    interleaved = image[None].contiguous(memory_format=torch.channels_last)
    return interpolate(interleaved, size=size_wh[::-1], mode=mode, antialias=True)[0]
