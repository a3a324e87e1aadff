"""Random colours, smooth noise, and arrays of pixel values as images."""

import colorsys

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Colour = tuple[int, int, int]  # RGB, 0 to 255


def bright_colour(rng: np.random.Generator) -> Colour:
    """Choose a saturated colour, as balloons have."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.72, 1.0), rng.uniform(0.8, 1.0))
    return round(255 * red), round(255 * green), round(255 * blue)


def dull_colour(rng: np.random.Generator, low: int = 70, high: int = 215) -> Colour:
    """Choose a greyish colour of a brightness from `low` to `high`."""
    grey, tint = rng.uniform(low, high), rng.uniform(-22, 22, 3)
    red, green, blue = (grey + tint).clip(0, 255).astype(int).tolist()
    return red, green, blue


def smooth_noise(
    rng: np.random.Generator, canvas_wh: tuple[int, int], cells: int, octaves: int = 3
) -> NDArray[np.float32]:
    """Give smooth noise, [height, width, 1], of mean 0 and standard deviation about 1.

    Args:
        cells: rows and columns of the coarsest grid of random values; each further octave doubles it.
        octaves: number of grids that are added, each with half of the weight of the one before.
    """
    total = np.zeros(canvas_wh[::-1], np.float32)
    for octave in range(octaves):
        grid = rng.standard_normal((cells * 2**octave,) * 2, dtype=np.float32)
        total += np.asarray(Image.fromarray(grid).resize(canvas_wh, Image.Resampling.BICUBIC)) / 2**octave
    return total[..., None]


def to_image(pixels: NDArray[np.floating]) -> Image.Image:
    """Clip and truncate pixels, [height, width, 3], to an 8-bit RGB image."""
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
