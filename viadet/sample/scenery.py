"""What surrounds balloons: a backdrop, and bright objects that are not balloons, so that colour alone tells nothing."""

from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from viadet.sample.pixels import bright_colour, dull_colour, smooth_noise, to_image


def _draw_sky(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> Image.Image:
    """Blue to pale, with clouds; now and then an evening sky."""
    evening = rng.random() < 0.25
    top, bottom = ((86, 84, 140), (244, 190, 150)) if evening else ((66, 124, 200), (188, 216, 238))
    cloud = np.clip(smooth_noise(rng, canvas_wh, 4) * 0.35 + rng.uniform(-0.2, 0.3), 0, 0.9)
    share = np.linspace(0, 1, canvas_wh[1], dtype=np.float32)[:, None, None]
    gradient = np.array(top, np.float32) * (1 - share) + np.array(bottom, np.float32) * share
    return to_image(gradient * (1 - cloud) + 245 * cloud)


def _draw_meadow(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> Image.Image:
    width, height = canvas_wh
    canvas = _draw_sky(rng, canvas_wh)
    x = np.linspace(0, 1, 60)
    horizon = rng.uniform(0.35, 0.6)
    for layer, colour in enumerate(((120, 148, 128), (98, 140, 76), (80, 122, 52))):
        waves = np.sin(x * rng.uniform(3, 7) + rng.uniform(0, 6)) * 0.05 + np.sin(x * 15 + layer) * 0.01
        ridge = [(a * width, (horizon + layer * 0.13 + b) * height) for a, b in zip(x, waves, strict=True)]
        ImageDraw.Draw(canvas).polygon([(0, height), *ridge, (width, height)], fill=colour)
    grass = 1 + 0.07 * smooth_noise(rng, canvas_wh, 24, 2)
    grass[: int(horizon * height * 0.8)] = 1
    return to_image(np.asarray(canvas, np.float32) * grass)


def _draw_bricks(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> Image.Image:
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
    return to_image(np.asarray(canvas, np.float32) * (1 + 0.06 * smooth_noise(rng, canvas_wh, 20, 2)))


def _draw_wallpaper(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> Image.Image:
    x, y = np.arange(canvas_wh[0], dtype=np.float32), np.arange(canvas_wh[1], dtype=np.float32)[:, None]
    phase = (x + y * rng.choice([0.0, 0.0, 0.5, -0.5])) / (max(canvas_wh) * rng.uniform(0.03, 0.1)) % 2 < 1
    one, two = (np.array(dull_colour(rng, 120, 230), np.float32) for _ in range(2))
    falloff = 1 + 0.08 * smooth_noise(rng, canvas_wh, 2, 1)
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
    return to_image(np.asarray(blurred, np.float32) * (1 + 0.05 * smooth_noise(rng, canvas_wh, 3, 2)))


def _draw_texture(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> Image.Image:
    """Plaster, sand or leaves far out of focus: two dull colours mixed by noise."""
    mix = (0.5 + 0.25 * smooth_noise(rng, canvas_wh, int(rng.integers(3, 20)), 4)).clip(0, 1)
    one, two = (np.array(dull_colour(rng), np.float32) for _ in range(2))
    return to_image(one * mix + two * (1 - mix))


BACKDROPS = (_draw_sky, _draw_meadow, _draw_bricks, _draw_wallpaper, _draw_room, _draw_texture)
WALLS = (_draw_bricks, _draw_wallpaper)  # close behind the balloons, which cast shadows on them


def draw_clutter(rng: np.random.Generator, canvas: Image.Image) -> None:
    """Draw up to four objects onto `canvas`: gifts, pennants, leaves, hoops."""
    kinds = (_draw_gift, _draw_pennants, _draw_leaf, _draw_hoop)
    for kind in rng.integers(len(kinds), size=rng.integers(0, 5)):
        size = max(canvas.size) * rng.uniform(0.06, 0.22)
        x, y = rng.uniform(0.05, 0.95, 2) * canvas.size
        kinds[kind](rng, ImageDraw.Draw(canvas), x, y, size)


def _draw_gift(rng: np.random.Generator, draw: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    place = partial(_turned, angle=rng.normal(0, 0.12), x=x, y=y)
    w, h = size * rng.uniform(0.5, 0.9), size * rng.uniform(0.4, 0.7)
    ribbon = w * 0.12
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    draw.polygon(place(corners * (w, h)), fill=bright_colour(rng))
    colour = bright_colour(rng)
    draw.polygon(place(corners * (ribbon, h)), fill=colour)
    draw.polygon(place(corners * (w, ribbon)), fill=colour)


def _draw_pennants(rng: np.random.Generator, draw: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    step = size * 0.45
    for k in range(int(rng.integers(3, 9))):
        left, top = x + (k - 4) * step, y + 0.04 * step * (k - 4) ** 2
        flag = [(left, top), (left + step * 0.9, top), (left + step * 0.45, top + step)]
        draw.polygon(flag, fill=bright_colour(rng))
    draw.line([(x + (k - 4) * step, y + 0.04 * step * (k - 4) ** 2) for k in range(9)], fill=(90, 80, 70), width=2)


def _draw_leaf(rng: np.random.Generator, draw: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    t = np.linspace(0, np.pi, 12)
    half = np.stack([-np.cos(t), 0.35 * np.sin(t) ** 1.5], axis=1) * size
    place = partial(_turned, angle=rng.uniform(0, np.pi), x=x, y=y)
    green = int(rng.uniform(90, 150))
    draw.polygon(place(np.concatenate([half, half[::-1] * (1, -1)])), fill=(green // 2 + 20, green, 40))
    draw.line(place(np.array([(-size, 0), (size, 0)])), fill=(green // 3, green // 2, 20), width=2)


def _draw_hoop(rng: np.random.Generator, draw: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    box = (x - size / 2, y - size / 2, x + size / 2, y + size / 2)
    draw.ellipse(box, outline=bright_colour(rng), width=max(2, round(size * 0.12)))


def _turned(points: NDArray[np.float64], angle: float, x: float, y: float) -> list[tuple[float, float]]:
    """Turn points, [points, 2], by an angle in rad about (0, 0), then move them by (x, y)."""
    cos, sin = np.cos(angle), np.sin(angle)
    return [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in points]
