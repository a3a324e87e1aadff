"""Pictures of balloons with VIA polygons, drawn by the project itself: a data set that needs no network.

Everything is painted at SUPERSAMPLE times the final size, in canvas px with x to the right and y down, and
then reduced, which gives soft edges. Polygons are divided by the same factor and rounded, as in VIA.
"""

import colorsys
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Floats = NDArray[np.float32]
Colour = tuple[int, int, int]  # RGB, 0 to 255

SUPERSAMPLE = 2
JPEG_QUALITY = 92
COUNT_CHANCES = [0.08, 0.20, 0.19, 0.16, 0.12, 0.10, 0.07, 0.05, 0.03]  # of 0 to 8 balloons in an image
# Length of a balloon against the longer side of the image: at 256 px these are COCO's small, medium and large.
LENGTH_RANGES = [(0.06, 0.13), (0.14, 0.39), (0.43, 0.62)]
LENGTH_CHANCES = [0.15, 0.47, 0.38]
MIN_VISIBLE = 0.35  # share of a body; less is not a balloon that a person would mark
PLACEMENT_TRIES = 30
OUTLINE_STEPS = 40
NECK = 0.16  # rad of the outline's parameter at which the body ends and the knot begins
KNOT = ((-0.05, 1.03), (-0.10, 1.13), (0.10, 1.13), (0.05, 1.03))  # (across, along) in half lengths


@dataclass(frozen=True)
class Balloon:
    """One balloon, in canvas px."""

    centre: tuple[float, float]
    length: float  # of the body without the knot
    aspect: float  # width against length
    taper: float  # how much narrower it is towards the knot; 0 is an ellipse
    tilt: float  # rad, clockwise as seen
    colour: Colour
    anchor: tuple[float, float]  # where its string ends

    def outline(self) -> NDArray[np.float64]:
        """Give the silhouette of body and knot, without the string: (n, 2) points x, y."""
        angles = np.linspace(NECK, 2 * np.pi - NECK, OUTLINE_STEPS)
        along = np.cos(angles)  # -1 at the top, 1 at the knot
        across = self.aspect * np.sin(angles) * (1 - self.taper * along)
        local = np.concatenate([np.stack([across, along], axis=1), np.array(KNOT)]) * self.length / 2
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        return local @ np.array([[cos, sin], [-sin, cos]]) + np.array(self.centre)


def write_rendered_split(folder: Path, images: int, image_size: int, seed: tuple[int, int]) -> None:
    """Render JPEGs and their `via_region_data.json` into an existing folder.

    Args:
        folder: gets 0000.jpg, 0001.jpg and so on, and the annotations in VIA's 1.x form.
        images: how many; image k does not depend on it.
        image_size: px, the longer side of every image.
        seed: the recipe's seed and the number of the split.
    """
    via = {}
    for index in range(images):
        path = folder / f"{index:04d}.jpg"
        picture, polygons = render_image(np.random.default_rng([*seed, index]), image_size)
        picture.save(path, quality=JPEG_QUALITY)
        size = path.stat().st_size
        via[f"{path.name}{size}"] = _via_entry(path.name, size, polygons, as_dict=index % 2 == 0)
    (folder / "via_region_data.json").write_text(json.dumps(via), encoding="utf-8")


def render_image(rng: np.random.Generator, image_size: int) -> tuple[Image.Image, list[NDArray[np.int64]]]:
    """Render one image; its longer side is `image_size` px.

    Returns:
        The picture and, for each balloon, an (n, 2) polygon in px of the picture, from the back to the front.
    """
    shorter = round(image_size * rng.uniform(0.7, 1.0))
    width, height = (image_size, shorter) if rng.random() < 0.6 else (shorter, image_size)
    canvas_wh = (width * SUPERSAMPLE, height * SUPERSAMPLE)
    backdrop, is_wall = BACKDROPS[rng.integers(len(BACKDROPS))]
    canvas = backdrop(rng, canvas_wh)
    _draw_clutter(rng, canvas)
    balloons = place_balloons(rng, canvas_wh)
    light = np.array([rng.uniform(-0.7, 0.7), -rng.uniform(0.4, 0.8), 1.0])
    light /= np.linalg.norm(light)
    if is_wall:
        _cast_shadows(canvas, balloons, light)
    for balloon in balloons:
        draw_string(canvas, balloon)
        draw_body(canvas, balloon, light)
    picture = _expose(rng, canvas.reduce(SUPERSAMPLE))
    outlines = [clip_polygon(balloon.outline() / SUPERSAMPLE, width, height) for balloon in balloons]
    return picture, [np.rint(outline).astype(np.int64) for outline in outlines]


def place_balloons(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> list[Balloon]:
    """Choose the balloons of an image, from the back to the front; all are visible to MIN_VISIBLE at least."""
    longer = max(canvas_wh)
    count = rng.choice(len(COUNT_CHANCES), p=COUNT_CHANCES)
    in_bunch = rng.random() < 0.5  # balloons of a bunch overlap, and their strings meet
    hub = rng.uniform(0.3, 0.7, 2) * canvas_wh
    anchor = (hub[0], hub[1] + rng.uniform(0.45, 0.7) * longer)
    covered = np.zeros(canvas_wh[::-1], bool)
    front_to_back: list[Balloon] = []
    for _ in range(count):
        low, high = LENGTH_RANGES[rng.choice(len(LENGTH_RANGES), p=LENGTH_CHANCES)]
        length = longer * np.exp(rng.uniform(np.log(low), np.log(high)))
        shape = (length, rng.uniform(0.74, 0.92), rng.uniform(0.06, 0.2), rng.normal(0, np.radians(8)))
        colour = _saturated_colour(rng)
        visible_enough = rng.uniform(MIN_VISIBLE, 1)
        for _ in range(PLACEMENT_TRIES):
            bunched = in_bunch and rng.random() < 0.75
            centre = rng.normal(hub, 0.17 * longer) if bunched else rng.uniform(0.04, 0.96, 2) * canvas_wh
            end = anchor if bunched else (centre[0] + rng.normal(0, 0.2) * length, centre[1] + 1.6 * length)
            balloon = Balloon((centre[0], centre[1]), *shape, colour, end)
            body = _mask(balloon, canvas_wh)
            if (body & ~covered).sum() >= visible_enough * polygon_area(balloon.outline()):
                covered |= body
                front_to_back.append(balloon)
                break
    return front_to_back[::-1]


def polygon_area(points: NDArray[np.float64]) -> float:
    """Give the area of an (n, 2) polygon, in squared units of its points."""
    x, y = points.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def clip_polygon(points: NDArray[np.float64], width: float, height: float) -> NDArray[np.float64]:
    """Cut an (n, 2) polygon at the borders of the image (Sutherland and Hodgman).

    Moving outer points onto the border instead would stretch the box along it.
    """
    for axis, sign, limit in ((0, -1, 0), (0, 1, width), (1, -1, 0), (1, 1, height)):
        kept = []
        inside = sign * points[:, axis] <= sign * limit
        for k, point in enumerate(points):
            previous = points[k - 1]
            if inside[k] != inside[k - 1]:
                share = (limit - previous[axis]) / (point[axis] - previous[axis])
                kept.append(previous + share * (point - previous))
            if inside[k]:
                kept.append(point)
        points = np.array(kept).reshape(-1, 2)
    return points


def draw_body(canvas: Image.Image, balloon: Balloon, light: NDArray[np.float64]) -> None:
    """Paint body and knot: matt shading, a darker rim, light shining through, and a highlight.

    Args:
        canvas: RGB, painted on in place.
        balloon: what to paint.
        light: unit vector x, y, z towards the light; z points at the viewer.
    """
    outline = balloon.outline()
    left, top = np.floor(outline.min(axis=0)).astype(int)
    right, bottom = np.ceil(outline.max(axis=0)).astype(int) + 1
    ys, xs = np.mgrid[top:bottom, left:right].astype(np.float32)
    dx, dy = xs - balloon.centre[0], ys - balloon.centre[1]
    cos, sin = np.cos(balloon.tilt), np.sin(balloon.tilt)
    along = (dy * cos - dx * sin) / (balloon.length / 2)
    across = (dx * cos + dy * sin) / (balloon.length / 2 * balloon.aspect * (1 - balloon.taper * along))
    facing = np.sqrt(np.clip(1 - across**2 - along**2, 0, 1))  # z of the surface's normal
    lit = np.clip(across * light[0] + along * light[1] + facing * light[2], 0, 1)
    through = np.clip(-across * light[0] - along * light[1], 0, 1) * facing  # the skin is translucent
    brightness = (0.42 + 0.6 * lit + 0.45 * through) * (0.62 + 0.38 * np.sqrt(facing))
    mirror = light + np.array([0, 0, 1])  # the normal that throws the light at the viewer
    mirror /= np.linalg.norm(mirror)
    shine = np.clip(across * mirror[0] + along * mirror[1] + facing * mirror[2], 0, 1)
    white = 0.85 * np.clip((shine - 0.965) / 0.02, 0, 1) + 0.35 * shine**14
    skin = brightness[..., None] * np.array(balloon.colour, np.float32)
    skin += (255 - skin).clip(0) * white.clip(0, 0.9)[..., None]
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in outline], fill=255)
    canvas.paste(Image.fromarray(skin.clip(0, 255).astype(np.uint8)), (int(left), int(top)), mask)


def draw_string(canvas: Image.Image, balloon: Balloon) -> None:
    """Paint the string, a bent line from the knot to the anchor, onto `canvas`."""
    x0, y0 = balloon.outline()[-3:-1].mean(axis=0)
    x1, y1 = balloon.anchor
    t = np.linspace(0, 1, 24)
    bend = np.array([x0 - np.sin(balloon.tilt) * (y1 - y0) / 2, (y0 + y1) / 2])
    xs = (1 - t) ** 2 * x0 + 2 * t * (1 - t) * bend[0] + t**2 * x1
    ys = (1 - t) ** 2 * y0 + 2 * t * (1 - t) * bend[1] + t**2 * y1
    thickness = max(1, round(balloon.length / 90))
    ImageDraw.Draw(canvas).line(list(zip(xs, ys, strict=True)), fill=(226, 222, 214), width=thickness)


def _mask(balloon: Balloon, canvas_wh: tuple[int, int]) -> NDArray[np.bool_]:
    mask = Image.new("1", canvas_wh)
    ImageDraw.Draw(mask).polygon([tuple(point) for point in balloon.outline()], fill=1)
    return np.asarray(mask)


def _cast_shadows(canvas: Image.Image, balloons: list[Balloon], light: NDArray[np.float64]) -> None:
    """Darken the wall behind the balloons, away from the light."""
    shade = Image.new("L", canvas.size)
    for balloon in balloons:
        shifted = balloon.outline() - light[:2] * balloon.length * 0.22
        ImageDraw.Draw(shade).polygon([tuple(point) for point in shifted], fill=105)
    shade = shade.resize((canvas.width // 4, canvas.height // 4)).filter(ImageFilter.GaussianBlur(3))
    canvas.paste((20, 18, 24), (0, 0), shade.resize(canvas.size))


def _expose(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """Add what a camera adds: corners a little darker, a cast of colour, and noise."""
    pixels = np.asarray(picture, np.float32)
    height, width = pixels.shape[:2]
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    vignette = 1 - rng.uniform(0, 0.14) * (x[None, :] ** 2 + y[:, None] ** 2)
    cast = rng.uniform(0.94, 1.06, 3).astype(np.float32) * np.float32(rng.uniform(0.88, 1.06))
    grain = rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(rng.uniform(1, 4))
    return Image.fromarray((pixels * vignette[..., None] * cast + grain).clip(0, 255).astype(np.uint8))


def _saturated_colour(rng: np.random.Generator) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.72, 1.0), rng.uniform(0.8, 1.0))
    return round(255 * red), round(255 * green), round(255 * blue)


def _dull_colour(rng: np.random.Generator, low: int = 70, high: int = 215) -> Colour:
    grey, tint = rng.uniform(low, high), rng.uniform(-22, 22, 3)
    red, green, blue = (grey + tint).clip(0, 255).astype(int).tolist()
    return red, green, blue


def _noise(rng: np.random.Generator, canvas_wh: tuple[int, int], cells: int, octaves: int = 3) -> Floats:
    """Give smooth noise, (height, width), about 0 with a spread of about 1; `cells` is the coarsest grid."""
    total = np.zeros(canvas_wh[::-1], np.float32)
    for octave in range(octaves):
        grid = rng.standard_normal((cells * 2**octave,) * 2, dtype=np.float32)
        total += np.asarray(Image.fromarray(grid).resize(canvas_wh, Image.Resampling.BICUBIC)) / 2**octave
    return total


def _gradient(canvas_wh: tuple[int, int], top: Colour, bottom: Colour) -> Floats:
    """Give a vertical gradient, (height, width, 3)."""
    share = np.linspace(0, 1, canvas_wh[1], dtype=np.float32)[:, None, None]
    column = np.array(top, np.float32) * (1 - share) + np.array(bottom, np.float32) * share
    return np.repeat(column, canvas_wh[0], axis=1)


def _to_image(pixels: Floats) -> Image.Image:
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _sky(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> Image.Image:
    """Blue to pale, with clouds; now and then an evening sky."""
    evening = rng.random() < 0.25
    top, bottom = ((86, 84, 140), (244, 190, 150)) if evening else ((66, 124, 200), (188, 216, 238))
    cloud = np.clip(_noise(rng, canvas_wh, 4) * 0.35 + rng.uniform(-0.2, 0.3), 0, 0.9)[..., None]
    return _to_image(_gradient(canvas_wh, top, bottom) * (1 - cloud) + 245 * cloud)


def _meadow(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> Image.Image:
    """Hills below a sky, the nearer the greener."""
    width, height = canvas_wh
    canvas = _sky(rng, canvas_wh)
    x = np.linspace(0, 1, 60)
    horizon = rng.uniform(0.35, 0.6)
    for layer, colour in enumerate(((120, 148, 128), (98, 140, 76), (80, 122, 52))):
        waves = np.sin(x * rng.uniform(3, 7) + rng.uniform(0, 6)) * 0.05 + np.sin(x * 15 + layer) * 0.01
        ridge = [(a * width, (horizon + layer * 0.13 + b) * height) for a, b in zip(x, waves, strict=True)]
        ImageDraw.Draw(canvas).polygon([(0, height), *ridge, (width, height)], fill=colour)
    grass = 1 + 0.07 * _noise(rng, canvas_wh, 24, 2)[..., None]
    grass[: int(horizon * height * 0.8)] = 1
    return _to_image(np.asarray(canvas, np.float32) * grass)


def _bricks(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> Image.Image:
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
    return _to_image(np.asarray(canvas, np.float32) * (1 + 0.06 * _noise(rng, canvas_wh, 20, 2)[..., None]))


def _wallpaper(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> Image.Image:
    """Two-coloured stripes, upright or slanted."""
    x, y = np.arange(canvas_wh[0], dtype=np.float32), np.arange(canvas_wh[1], dtype=np.float32)[:, None]
    phase = (x + y * rng.choice([0.0, 0.0, 0.5, -0.5])) / (max(canvas_wh) * rng.uniform(0.03, 0.1)) % 2 < 1
    one, two = (np.array(_dull_colour(rng, 120, 230), np.float32) for _ in range(2))
    falloff = 1 + 0.08 * _noise(rng, canvas_wh, 2, 1)[..., None]
    return _to_image(np.where(phase[..., None], one, two) * falloff)


def _room(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> Image.Image:
    """A wall and a floor with furniture, out of focus."""
    width, height = canvas_wh
    canvas = Image.new("RGB", canvas_wh, _dull_colour(rng, 150, 225))
    draw = ImageDraw.Draw(canvas)
    floor = rng.uniform(0.68, 0.85) * height
    draw.rectangle((0, floor, width, height), fill=_dull_colour(rng, 80, 150))
    for _ in range(rng.integers(3, 8)):
        left, w, h = (
            rng.uniform(-0.1, 0.9) * width,
            rng.uniform(0.1, 0.35) * width,
            rng.uniform(0.1, 0.5) * height,
        )
        bottom = floor + rng.uniform(0, 0.08) * height if rng.random() < 0.6 else rng.uniform(0.35, 0.6) * height
        draw.rectangle((left, bottom - h, left + w, bottom), fill=_dull_colour(rng, 50, 230))
    blurred = canvas.filter(ImageFilter.GaussianBlur(max(canvas_wh) * rng.uniform(0.006, 0.016)))
    return _to_image(np.asarray(blurred, np.float32) * (1 + 0.05 * _noise(rng, canvas_wh, 3, 2)[..., None]))


def _texture(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> Image.Image:
    """Plaster, sand or leaves far out of focus: two dull colours mixed by noise."""
    mix = (0.5 + 0.25 * _noise(rng, canvas_wh, int(rng.integers(3, 20)), 4)).clip(0, 1)[..., None]
    one, two = (np.array(_dull_colour(rng), np.float32) for _ in range(2))
    return _to_image(one * mix + two * (1 - mix))


Backdrop = Callable[[np.random.Generator, tuple[int, int]], Image.Image]
# With each: whether it is a wall close behind the balloons, which then cast a shadow.
BACKDROPS: list[tuple[Backdrop, bool]] = [
    (_sky, False),
    (_meadow, False),
    (_bricks, True),
    (_wallpaper, True),
    (_room, False),
    (_texture, False),
]


def _draw_clutter(rng: np.random.Generator, canvas: Image.Image) -> None:
    """Paint what is coloured but no balloon, so that colour alone does not give balloons away."""
    kinds = (_gift, _pennants, _leaf, _hoop)
    for kind in rng.integers(len(kinds), size=rng.integers(0, 5)):
        size = max(canvas.size) * rng.uniform(0.06, 0.22)
        x, y = rng.uniform(0.05, 0.95, 2) * canvas.size
        kinds[kind](rng, ImageDraw.Draw(canvas), x, y, size)


def _turned(points: NDArray[np.float64], angle: float, x: float, y: float) -> list[tuple[float, float]]:
    cos, sin = np.cos(angle), np.sin(angle)
    return [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in points]


def _gift(rng: np.random.Generator, draw: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    """A box with a ribbon across."""
    place = partial(_turned, angle=rng.normal(0, 0.12), x=x, y=y)
    w, h = size * rng.uniform(0.5, 0.9), size * rng.uniform(0.4, 0.7)
    ribbon = w * 0.12
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    draw.polygon(place(corners * (w, h)), fill=_saturated_colour(rng))
    colour = _saturated_colour(rng)
    draw.polygon(place(corners * (ribbon, h)), fill=colour)
    draw.polygon(place(corners * (w, ribbon)), fill=colour)


def _pennants(rng: np.random.Generator, draw: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    """A string of triangular flags."""
    step = size * 0.45
    for k in range(int(rng.integers(3, 9))):
        left, top = x + (k - 4) * step, y + 0.04 * step * (k - 4) ** 2
        flag = [(left, top), (left + step * 0.9, top), (left + step * 0.45, top + step)]
        draw.polygon(flag, fill=_saturated_colour(rng))
    draw.line([(x + (k - 4) * step, y + 0.04 * step * (k - 4) ** 2) for k in range(9)], fill=(90, 80, 70), width=2)


def _leaf(rng: np.random.Generator, draw: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    """A leaf, pointed at both ends, with its vein."""
    t = np.linspace(0, np.pi, 12)
    half = np.stack([-np.cos(t), 0.35 * np.sin(t) ** 1.5], axis=1) * size
    place = partial(_turned, angle=rng.uniform(0, np.pi), x=x, y=y)
    green = int(rng.uniform(90, 150))
    draw.polygon(place(np.concatenate([half, half[::-1] * (1, -1)])), fill=(green // 2 + 20, green, 40))
    draw.line(place(np.array([(-size, 0), (size, 0)])), fill=(green // 3, green // 2, 20), width=2)


def _hoop(rng: np.random.Generator, draw: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    """A ring: round like a balloon, but flat and open."""
    box = (x - size / 2, y - size / 2, x + size / 2, y + size / 2)
    draw.ellipse(box, outline=_saturated_colour(rng), width=max(2, round(size * 0.12)))


def _via_entry(name: str, size: int, polygons: list[NDArray[np.int64]], as_dict: bool) -> dict[str, object]:
    """Build an image's entry; VIA 1.x wrote regions as a dict, later versions as a list, and both occur."""
    regions = [
        {
            "shape_attributes": {
                "name": "polygon",
                "all_points_x": polygon[:, 0].tolist(),
                "all_points_y": polygon[:, 1].tolist(),
            },
            "region_attributes": {},
        }
        for polygon in polygons
    ]
    return {
        "fileref": "",
        "size": size,
        "filename": name,
        "base64_img_data": "",
        "file_attributes": {},
        "regions": {str(k): region for k, region in enumerate(regions)} if as_dict else regions,
    }
