"""Rendering one image of the sample, with the polygons of its balloons.

Everything is painted at SUPERSAMPLE times the final size, in canvas px with x to the right and y down, and then
reduced, which gives soft edges. Polygons are divided by the same factor and rounded, as in VIA.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from viadet.images.polygons import clip_polygon
from viadet.sample.backdrops import BACKDROPS
from viadet.sample.balloons import place_balloons
from viadet.sample.clutter import draw_clutter
from viadet.sample.painting import add_camera_effects, draw_body, draw_shadows, draw_string

SUPERSAMPLE = 2


def render_image(rng: np.random.Generator, image_size: int) -> tuple[Image.Image, list[NDArray[np.int64]]]:
    """Render one image; its longer side is `image_size` px.

    Returns:
        The picture, and the polygon of each balloon, [points, 2] in px of the picture, from back to front.
    """
    shorter = round(image_size * rng.uniform(0.7, 1.0))
    width, height = (image_size, shorter) if rng.random() < 0.6 else (shorter, image_size)
    canvas_wh = (width * SUPERSAMPLE, height * SUPERSAMPLE)
    draw_backdrop, is_wall = BACKDROPS[rng.integers(len(BACKDROPS))]
    canvas = draw_backdrop(rng, canvas_wh)
    draw_clutter(rng, canvas)
    balloons = place_balloons(rng, canvas_wh)
    light = np.array([rng.uniform(-0.7, 0.7), -rng.uniform(0.4, 0.8), 1.0])
    light /= np.linalg.norm(light)
    if is_wall:
        draw_shadows(canvas, balloons, light)
    for balloon in balloons:
        draw_string(canvas, balloon)
        draw_body(canvas, balloon, light)
    picture = add_camera_effects(rng, canvas.reduce(SUPERSAMPLE))
    outlines = [clip_polygon(balloon.outline() / SUPERSAMPLE, width, height) for balloon in balloons]
    return picture, [np.rint(outline).astype(np.int64) for outline in outlines]
