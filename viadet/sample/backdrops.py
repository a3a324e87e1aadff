"""Backdrops: sky, meadow, bricks, wallpaper, a room, a texture."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from viadet.sample.colours import dull_colour
from viadet.sample.noise import smooth_noise, to_image, vertical_gradient


def _draw_sky(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> Image.Image:
    """Blue to pale, with clouds; now and then an evening sky."""
    evening = rng.random() < 0.25
    top, bottom = ((86, 84, 140), (244, 190, 150)) if evening else ((66, 124, 200), (188, 216, 238))
    cloud = np.clip(smooth_noise(rng, canvas_wh, 4) * 0.35 + rng.uniform(-0.2, 0.3), 0, 0.9)[..., None]
    return to_image(vertical_gradient(canvas_wh, top, bottom) * (1 - cloud) + 245 * cloud)


def _draw_meadow(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> Image.Image:
    """Hills below a sky, the nearer the greener."""
    width, height = canvas_wh
    canvas = _draw_sky(rng, canvas_wh)
    x = np.linspace(0, 1, 60)
    horizon = rng.uniform(0.35, 0.6)
    for layer, colour in enumerate(((120, 148, 128), (98, 140, 76), (80, 122, 52))):
        waves = np.sin(x * rng.uniform(3, 7) + rng.uniform(0, 6)) * 0.05 + np.sin(x * 15 + layer) * 0.01
        ridge = [(a * width, (horizon + layer * 0.13 + b) * height) for a, b in zip(x, waves, strict=True)]
        ImageDraw.Draw(canvas).polygon([(0, height), *ridge, (width, height)], fill=colour)
    grass = 1 + 0.07 * smooth_noise(rng, canvas_wh, 24, 2)[..., None]
    grass[: int(horizon * height * 0.8)] = 1
    return to_image(np.asarray(canvas, np.float32) * grass)


def _draw_bricks(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> Image.Image:
    """A wall of bricks, each of its own shade."""
    width, height = canvas_wh
    canvas = Image.new("RGB", canvas_wh, (186, 180, 172))
    draw = ImageDraw.Draw(canvas)
    rows = int(rng.integers(9, 18))
    brick_h = height / rows
    base = np.array([(150, 82, 64), (128, 118, 108), (176, 128, 92), (205, 200, 192)][rng.integers(4)])
    for row in range(rows):
        for column in range(-1, int(width / brick_h / 2.4) + 1):
            left = (column + row % 2 / 2) * brick_h * 2.4
            red, green, blue = (base * rng.uniform(0.82, 1.12)).clip(0, 255).astype(int).tolist()
            box = (left, row * brick_h, left + brick_h * 2.25, (row + 0.9) * brick_h)
            draw.rectangle(box, fill=(red, green, blue))
    return to_image(np.asarray(canvas, np.float32) * (1 + 0.06 * smooth_noise(rng, canvas_wh, 20, 2)[..., None]))


def _draw_wallpaper(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> Image.Image:
    """Two-coloured stripes, upright or slanted."""
    x, y = np.arange(canvas_wh[0], dtype=np.float32), np.arange(canvas_wh[1], dtype=np.float32)[:, None]
    phase = (x + y * rng.choice([0.0, 0.0, 0.5, -0.5])) / (max(canvas_wh) * rng.uniform(0.03, 0.1)) % 2 < 1
    one, two = (np.array(dull_colour(rng, 120, 230), np.float32) for _ in range(2))
    falloff = 1 + 0.08 * smooth_noise(rng, canvas_wh, 2, 1)[..., None]
    return to_image(np.where(phase[..., None], one, two) * falloff)


def _draw_room(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> Image.Image:
    """A wall and a floor with furniture, out of focus."""
    width, height = canvas_wh
    canvas = Image.new("RGB", canvas_wh, dull_colour(rng, 150, 225))
    draw = ImageDraw.Draw(canvas)
    floor = rng.uniform(0.68, 0.85) * height
    draw.rectangle((0, floor, width, height), fill=dull_colour(rng, 80, 150))
    for _ in range(rng.integers(3, 8)):
        left = rng.uniform(-0.1, 0.9) * width
        w, h = rng.uniform(0.1, 0.35) * width, rng.uniform(0.1, 0.5) * height
        bottom = floor + rng.uniform(0, 0.08) * height if rng.random() < 0.6 else rng.uniform(0.35, 0.6) * height
        draw.rectangle((left, bottom - h, left + w, bottom), fill=dull_colour(rng, 50, 230))
    blurred = canvas.filter(ImageFilter.GaussianBlur(max(canvas_wh) * rng.uniform(0.006, 0.016)))
    return to_image(np.asarray(blurred, np.float32) * (1 + 0.05 * smooth_noise(rng, canvas_wh, 3, 2)[..., None]))


def _draw_texture(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> Image.Image:
    """Plaster, sand or leaves far out of focus: two dull colours mixed by noise."""
    mix = (0.5 + 0.25 * smooth_noise(rng, canvas_wh, int(rng.integers(3, 20)), 4)).clip(0, 1)[..., None]
    one, two = (np.array(dull_colour(rng), np.float32) for _ in range(2))
    return to_image(one * mix + two * (1 - mix))


Backdrop = Callable[[np.random.Generator, tuple[int, int]], Image.Image]
# With each: whether it is a wall close behind the balloons, on which they cast shadows.
BACKDROPS: list[tuple[Backdrop, bool]] = [
    (_draw_sky, False),
    (_draw_meadow, False),
    (_draw_bricks, True),
    (_draw_wallpaper, True),
    (_draw_room, False),
    (_draw_texture, False),
]
