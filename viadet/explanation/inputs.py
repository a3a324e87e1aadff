"""A photograph as the network's input, and where it lies there."""

from pathlib import Path
from typing import NamedTuple

import torch

from viadet.images.letterbox import Letterbox, letterbox_image, letterbox_of
from viadet.images.pixels import read_image
from viadet.network.build import NetworkSpec


class InputImage(NamedTuple):
    """A photograph in the network's input."""

    canvas: torch.Tensor  # uint8 [3, H, W], the whole input
    letterbox: Letterbox

    @property
    def photograph(self) -> torch.Tensor:
        """The part of the canvas that the photograph covers, uint8 [3, h, w]."""
        return self.canvas[:, : self.letterbox.height, : self.letterbox.width]


def read_input(path: Path, spec: NetworkSpec) -> InputImage:
    """Read a photograph and fit it into the input of a network.

    Raises:
        UserError: the file is missing or can't be decoded.
    """
    image = read_image(path)
    letterbox = letterbox_of(image.shape[2], image.shape[1], spec.input_wh)
    return InputImage(letterbox_image(image, spec.input_wh, spec.fill_rgb), letterbox)
