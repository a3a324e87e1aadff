"""Fields of values over a canvas: smooth noise, gradients."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from viadet.sample.colours import Colour

Floats = NDArray[np.float32]


def noise(rng: np.random.Generator, canvas_wh: tuple[int, int], cells: int, octaves: int = 3) -> Floats:
    """Give smooth noise, (height, width), about 0 with a spread of about 1; `cells` is the coarsest grid."""
    total = np.zeros(canvas_wh[::-1], np.float32)
    for octave in range(octaves):
        grid = rng.standard_normal((cells * 2**octave,) * 2, dtype=np.float32)
        total += np.asarray(Image.fromarray(grid).resize(canvas_wh, Image.Resampling.BICUBIC)) / 2**octave
    return total


def gradient(canvas_wh: tuple[int, int], top: Colour, bottom: Colour) -> Floats:
    """Give a vertical gradient, (height, width, 3)."""
    share = np.linspace(0, 1, canvas_wh[1], dtype=np.float32)[:, None, None]
    column = np.array(top, np.float32) * (1 - share) + np.array(bottom, np.float32) * share
    return np.repeat(column, canvas_wh[0], axis=1)


def to_image(pixels: Floats) -> Image.Image:
    """Round pixels, (height, width, 3), into an RGB image."""
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
