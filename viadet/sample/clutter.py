"""Clutter: bright objects that are not balloons, so that colour alone does not tell balloons."""

from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from viadet.sample.colours import bright_colour


def draw_clutter(rng: np.random.Generator, canvas: Image.Image) -> None:
    """Draw up to four objects onto `canvas`: gifts, pennants, leaves, hoops."""
    kinds = (_draw_gift, _draw_pennants, _draw_leaf, _draw_hoop)
    for kind in rng.integers(len(kinds), size=rng.integers(0, 5)):
        size = max(canvas.size) * rng.uniform(0.06, 0.22)
        x, y = rng.uniform(0.05, 0.95, 2) * canvas.size
        kinds[kind](rng, ImageDraw.Draw(canvas), x, y, size)


def _draw_gift(rng: np.random.Generator, draw: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    """A box with a ribbon across."""
    place = partial(_turned, angle=rng.normal(0, 0.12), x=x, y=y)
    w, h = size * rng.uniform(0.5, 0.9), size * rng.uniform(0.4, 0.7)
    ribbon = w * 0.12
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    draw.polygon(place(corners * (w, h)), fill=bright_colour(rng))
    colour = bright_colour(rng)
    draw.polygon(place(corners * (ribbon, h)), fill=colour)
    draw.polygon(place(corners * (w, ribbon)), fill=colour)


def _draw_pennants(rng: np.random.Generator, draw: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    """A string of triangular flags."""
    step = size * 0.45
    for k in range(int(rng.integers(3, 9))):
        left, top = x + (k - 4) * step, y + 0.04 * step * (k - 4) ** 2
        flag = [(left, top), (left + step * 0.9, top), (left + step * 0.45, top + step)]
        draw.polygon(flag, fill=bright_colour(rng))
    draw.line([(x + (k - 4) * step, y + 0.04 * step * (k - 4) ** 2) for k in range(9)], fill=(90, 80, 70), width=2)


def _draw_leaf(rng: np.random.Generator, draw: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    """A leaf, pointed at both ends, with its vein."""
    t = np.linspace(0, np.pi, 12)
    half = np.stack([-np.cos(t), 0.35 * np.sin(t) ** 1.5], axis=1) * size
    place = partial(_turned, angle=rng.uniform(0, np.pi), x=x, y=y)
    green = int(rng.uniform(90, 150))
    draw.polygon(place(np.concatenate([half, half[::-1] * (1, -1)])), fill=(green // 2 + 20, green, 40))
    draw.line(place(np.array([(-size, 0), (size, 0)])), fill=(green // 3, green // 2, 20), width=2)


def _draw_hoop(rng: np.random.Generator, draw: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    """A ring: round like a balloon, but flat and open."""
    box = (x - size / 2, y - size / 2, x + size / 2, y + size / 2)
    draw.ellipse(box, outline=bright_colour(rng), width=max(2, round(size * 0.12)))


def _turned(points: NDArray[np.float64], angle: float, x: float, y: float) -> list[tuple[float, float]]:
    """Turn points, [points, 2], by an angle in rad about (0, 0), then move them by (x, y)."""
    cos, sin = np.cos(angle), np.sin(angle)
    return [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in points]
