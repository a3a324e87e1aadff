"""Writing a split of the rendered sample: JPEGs and their VIA file."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from viadet.sample.render import render_image

JPEG_QUALITY = 92


def write_rendered_split(folder: Path, images: int, image_size: int, seed: tuple[int, int]) -> None:
    """Render JPEGs and their `via_region_data.json` into an existing folder.

    Args:
        folder: gets 0000.jpg, 0001.jpg and so on, and the annotations in VIA's 1.x format.
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
