"""Rendered balloons in two classes, plain and striped, and their annotations as a file of VIA."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.scenes import paint
from benchmarks.small_trainings import AnnotatedImages
from viadet.annotations.coco import to_coco
from viadet.annotations.convert import DataSet, convert_data_set
from viadet.project.files import write_text
from viadet.project.params import Recipe
from viadet.sample.render import JPEG_QUALITY, render_image
from viadet.via.project_files import via_entries

CLASSES = ("plain", "striped")
ATTRIBUTE = "kind"  # of a region, names its class
VIA_NAME = "via.json"


class LabelledObject(NamedTuple):
    """An object and its class."""

    polygon: NDArray[np.int64]  # [points, 2], px of the image
    category: str  # one of CLASSES

    @property
    def box_xyxy(self) -> NDArray[np.float64]:
        """The box around the polygon, [4]."""
        return np.concatenate([self.polygon.min(0), self.polygon.max(0)]).astype(np.float64)


class Scene(NamedTuple):
    """A rendered image and the truth about it."""

    file_name: str
    bytes: int
    objects: list[LabelledObject]  # from back to front


def render_scenes(
    folder: Path, images: int, image_size: int, seed: tuple[int, int], generator: np.random.Generator
) -> list[Scene]:
    """Render JPEGs into a folder; half of their balloons, by chance, get stripes.

    Args:
        folder: gets 0000.jpg, 0001.jpg and so on.
        images: how many.
        image_size: px, the longer side of every image.
        seed: of the images.
        generator: chooses who gets stripes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scenes = []
    for number in range(images):
        picture, polygons = render_image(np.random.default_rng([*seed, number]), image_size)
        striped = generator.random(len(polygons)) < 0.5
        categories = [CLASSES[int(has_stripes)] for has_stripes in striped]
        path = folder / f"{number:04d}.jpg"
        paint(picture, polygons, categories).save(path, quality=JPEG_QUALITY)
        objects = [LabelledObject(*one) for one in zip(polygons, categories, strict=True)]
        scenes.append(Scene(path.name, path.stat().st_size, objects))
    return scenes


def write_annotations(folder: Path, scenes: Sequence[Scene]) -> None:
    """Write the objects of all scenes into the folder of the images, as VIA 2 exports them."""
    images = [(scene.file_name, scene.bytes, [_region(one) for one in scene.objects], {}) for scene in scenes]
    write_text(folder / VIA_NAME, json.dumps(via_entries(images)) + "\n")


def annotate(folder: Path, scenes: Sequence[Scene], recipe: Recipe) -> tuple[DataSet, AnnotatedImages]:
    """Write the annotations of scenes beside their images and convert them; the first image's id is 1.

    Raises:
        ValueError: an image or a region was left out.
    """
    write_annotations(folder, scenes)
    data_set = convert_data_set(folder, str(folder), recipe.convert)
    if data_set.faults or len(data_set.images) != len(scenes):
        raise ValueError(f"{folder}: {data_set.faults or 'images are missing'}")
    return data_set, AnnotatedImages(folder, to_coco(data_set.images, data_set.categories.names))


def _region(labelled: LabelledObject) -> dict:
    xs, ys = labelled.polygon.T.tolist()
    shape = {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
    return {"shape_attributes": shape, "region_attributes": {ATTRIBUTE: labelled.category}}
