"""Rendering the sample: images, the polygons of their balloons, and VIA files.

Everything is painted at SUPERSAMPLE times the final size, in canvas px with x to the right and y down, and then
reduced, which gives soft edges. Polygons are divided by the same factor and rounded, as in VIA.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from viadet.images.polygons import clip_polygon
from viadet.sample.balloons import place_balloons
from viadet.sample.painting import add_camera_effects, draw_body, draw_shadows, draw_string
from viadet.sample.scenery import BACKDROPS, WALLS, draw_clutter

SUPERSAMPLE = 2
JPEG_QUALITY = 92


def render_image(rng: np.random.Generator, image_size: int) -> tuple[Image.Image, list[NDArray[np.int64]]]:
    """Render one image; its longer side is `image_size` px.

    Returns:
        The picture, and the polygon of each balloon, [points, 2] in px of the picture, from back to front.
    """
    shorter = round(image_size * rng.uniform(0.7, 1.0))
    width, height = (image_size, shorter) if rng.random() < 0.6 else (shorter, image_size)
    canvas_wh = (width * SUPERSAMPLE, height * SUPERSAMPLE)
    draw_backdrop = BACKDROPS[rng.integers(len(BACKDROPS))]
    canvas = draw_backdrop(rng, canvas_wh)
    draw_clutter(rng, canvas)
    balloons = place_balloons(rng, canvas_wh)
    light = np.array([rng.uniform(-0.7, 0.7), -rng.uniform(0.4, 0.8), 1.0])
    light /= np.linalg.norm(light)
    if draw_backdrop in WALLS:
        draw_shadows(canvas, balloons, light)
    for balloon in balloons:
        draw_string(canvas, balloon)
        draw_body(canvas, balloon, light)
    picture = add_camera_effects(rng, canvas.reduce(SUPERSAMPLE))
    outlines = [clip_polygon(balloon.outline() / SUPERSAMPLE, width, height) for balloon in balloons]
    return picture, [np.rint(outline).astype(np.int64) for outline in outlines]


def write_rendered_split(folder: Path, images: int, image_size: int, seed: tuple[int, int]) -> None:
    """Render JPEGs and their `via_region_data.json`, in VIA's 1.x format, into an existing folder.

    Args:
        folder: gets 0000.jpg, 0001.jpg and so on.
        images: how many; each image depends on its number but not on how many there are.
        image_size: px, the longer side of every image.
        seed: the recipe's seed and the number of the split.
    """
    via = {}
    for index in range(images):
        path = folder / f"{index:04d}.jpg"
        picture, polygons = render_image(np.random.default_rng([*seed, index]), image_size)
        picture.save(path, quality=JPEG_QUALITY)
        file_size = path.stat().st_size
        via[f"{path.name}{file_size}"] = _via_entry(path.name, file_size, polygons, as_dict=index % 2 == 0)
    (folder / "via_region_data.json").write_text(json.dumps(via), encoding="utf-8", newline="\n")


def _via_entry(name: str, file_size: int, polygons: list[NDArray[np.int64]], as_dict: bool) -> dict[str, object]:
    """Build an image's entry; VIA 1.x wrote regions as a dict, later versions as a list, and both are in use."""
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
        "size": file_size,
        "filename": name,
        "base64_img_data": "",
        "file_attributes": {},
        "regions": {str(k): region for k, region in enumerate(regions)} if as_dict else regions,
    }
