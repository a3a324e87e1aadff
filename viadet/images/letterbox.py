"""Fitting photographs into the input of the network."""

from typing import NamedTuple

import numpy as np
import torch
from torchvision.transforms.v2 import functional as F

from viadet.images.pixels import blank_canvas


class Letterbox(NamedTuple):
    """Where a photograph lies in the network's input: scaled evenly, in the upper left corner.

    A point of the original image lies at `point * scale_xy` in the input.
    """

    width: int  # px of the input that the photograph covers
    height: int
    scale_xy: tuple[float, float]  # input px per original px; both differ only by rounding to whole pixels
    input_wh: tuple[int, int]  # px of the whole input

    def to_input(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        """Scale boxes in px of the original image to px of the input, float32 [N, 4]."""
        return boxes_xyxy * np.array(self.scale_xy * 2, np.float32)


class InputImage(NamedTuple):
    """A photograph in the network's input."""

    canvas: torch.Tensor  # uint8 [3, H, W], the whole input
    letterbox: Letterbox

    @property
    def photograph(self) -> torch.Tensor:
        """The part of the canvas that the photograph covers, uint8 [3, h, w]."""
        return self.canvas[:, : self.letterbox.height, : self.letterbox.width]


def letterbox_of(width: int, height: int, input_wh: tuple[int, int]) -> Letterbox:
    """Fit an image of `width` x `height` px into an input of `input_wh` px."""
    scale = min(input_wh[0] / width, input_wh[1] / height)
    fitted_width = max(1, min(input_wh[0], round(width * scale)))
    fitted_height = max(1, min(input_wh[1], round(height * scale)))
    return Letterbox(fitted_width, fitted_height, (fitted_width / width, fitted_height / height), input_wh)


def letterbox_image(image: torch.Tensor, input_wh: tuple[int, int], fill_rgb: tuple[int, int, int]) -> InputImage:
    """Put a photograph, uint8 [3, H, W], into the network's input of `input_wh` px."""
    _, height, width = image.shape
    box = letterbox_of(width, height, input_wh)
    canvas = blank_canvas(input_wh, fill_rgb)
    canvas[:, : box.height, : box.width] = F.resize(image, [box.height, box.width], antialias=True)
    return InputImage(canvas, box)
