"""Random colours: bright ones and dull ones."""

import colorsys

import numpy as np

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
