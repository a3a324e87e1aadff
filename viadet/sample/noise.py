"""Arrays of pixel values: smooth noise, gradients, and rounding them to an image."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from viadet.sample.colours import Colour

Floats = NDArray[np.float32]


def smooth_noise(rng: np.random.Generator, canvas_wh: tuple[int, int], cells: int, octaves: int = 3) -> Floats:
    """Give smooth noise, [height, width], of mean 0 and standard deviation about 1.

    Args:
        rng: source of randomness.
        canvas_wh: width and height, px.
        cells: rows and columns of the coarsest grid of random values; each further octave doubles it.
        octaves: number of grids that are added, each with half of the weight of the one before.
    """
    total = np.zeros(canvas_wh[::-1], np.float32)
    for octave in range(octaves):
        grid = rng.standard_normal((cells * 2**octave,) * 2, dtype=np.float32)
        total += np.asarray(Image.fromarray(grid).resize(canvas_wh, Image.Resampling.BICUBIC)) / 2**octave
    return total


def vertical_gradient(canvas_wh: tuple[int, int], top: Colour, bottom: Colour) -> Floats:
    """Give a gradient from one colour to another, [height, width, 3]."""
    share = np.linspace(0, 1, canvas_wh[1], dtype=np.float32)[:, None, None]
    column = np.array(top, np.float32) * (1 - share) + np.array(bottom, np.float32) * share
    return np.repeat(column, canvas_wh[0], axis=1)


def to_image(pixels: Floats) -> Image.Image:
    """Clip and truncate pixels, [height, width, 3], to an 8-bit RGB image."""
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
