"""Painting balloons with their strings and shadows, and what a camera adds.

Canvases are RGB and painted on in place; light is a unit vector x, y, z that points towards the light, z at the viewer.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from viadet.sample.balloons import Balloon
from viadet.sample.pixels import to_image


def draw_body(canvas: Image.Image, balloon: Balloon, light: NDArray[np.float64]) -> None:
    """Paint body and knot of a balloon."""
    outline = balloon.outline()
    left, top = np.floor(outline.min(axis=0)).astype(int)
    right, bottom = np.ceil(outline.max(axis=0)).astype(int) + 1
    ys, xs = np.mgrid[top:bottom, left:right].astype(np.float32)
    skin = _shaded_skin(balloon, xs, ys, light)
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in outline], fill=255)
    canvas.paste(to_image(skin), (int(left), int(top)), mask)


def draw_string(canvas: Image.Image, balloon: Balloon) -> None:
    """Paint the string, a quadratic Bézier curve from the knot to the anchor."""
    x0, y0 = balloon.outline()[-3:-1].mean(axis=0)
    x1, y1 = balloon.anchor
    t = np.linspace(0, 1, 24)
    bend = np.array([x0 - np.sin(balloon.tilt) * (y1 - y0) / 2, (y0 + y1) / 2])
    xs = (1 - t) ** 2 * x0 + 2 * t * (1 - t) * bend[0] + t**2 * x1
    ys = (1 - t) ** 2 * y0 + 2 * t * (1 - t) * bend[1] + t**2 * y1
    thickness = max(1, round(balloon.length / 90))
    ImageDraw.Draw(canvas).line(list(zip(xs, ys, strict=True)), fill=(226, 222, 214), width=thickness)


def draw_shadows(canvas: Image.Image, balloons: list[Balloon], light: NDArray[np.float64]) -> None:
    """Darken the wall behind the balloons, on the side away from the light."""
    shade = Image.new("L", canvas.size)
    for balloon in balloons:
        shifted = balloon.outline() - light[:2] * balloon.length * 0.22
        ImageDraw.Draw(shade).polygon([tuple(point) for point in shifted], fill=105)
    shade = shade.resize((canvas.width // 4, canvas.height // 4)).filter(ImageFilter.GaussianBlur(3))
    canvas.paste((20, 18, 24), (0, 0), shade.resize(canvas.size))


def add_camera_effects(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """Darken the corners, shift the colours and the exposure, and add noise."""
    pixels = np.asarray(picture, np.float32)
    height, width = pixels.shape[:2]
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    vignette = 1 - rng.uniform(0, 0.14) * (x[None, :] ** 2 + y[:, None] ** 2)
    cast = rng.uniform(0.94, 1.06, 3).astype(np.float32) * np.float32(rng.uniform(0.88, 1.06))
    grain = rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(rng.uniform(1, 4))
    return to_image(pixels * vignette[..., None] * cast + grain)


def _shaded_skin(
    balloon: Balloon, xs: NDArray[np.float32], ys: NDArray[np.float32], light: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Shade a balloon: matt skin, a darker rim, light shining through, and a highlight.

    Returns:
        RGB of each pixel x, y, [height, width, 3], not clipped; without meaning outside of the balloon.
    """
    dx, dy = xs - balloon.centre[0], ys - balloon.centre[1]
    cos, sin = np.cos(balloon.tilt), np.sin(balloon.tilt)
    along = (dy * cos - dx * sin) / (balloon.length / 2)
    across = (dx * cos + dy * sin) / (balloon.length / 2 * balloon.aspect * (1 - balloon.taper * along))
    facing = np.sqrt(np.clip(1 - across**2 - along**2, 0, 1))  # z of the surface's normal
    lit = np.clip(across * light[0] + along * light[1] + facing * light[2], 0, 1)
    through = np.clip(-across * light[0] - along * light[1], 0, 1) * facing  # the skin is translucent
    brightness = (0.42 + 0.6 * lit + 0.45 * through) * (0.62 + 0.38 * np.sqrt(facing))
    half = light + np.array([0, 0, 1])  # halfway between light and viewer: the normal that reflects one to the other
    half /= np.linalg.norm(half)
    shine = np.clip(across * half[0] + along * half[1] + facing * half[2], 0, 1)
    white = 0.85 * np.clip((shine - 0.965) / 0.02, 0, 1) + 0.35 * shine**14
    skin = brightness[..., None] * np.array(balloon.colour, np.float32)
    skin += (255 - skin).clip(0) * white.clip(0, 0.9)[..., None]
    return skin
