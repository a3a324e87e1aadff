"""The training photographs, decoded once."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from viadet.annotations.coco import by_image
from viadet.augmentation.objects import Scene
from viadet.images.pixels import read_image
from viadet.project.files import read_json

STORE_DIR = Path("data")  # not the system's temporary folder: that one may itself be memory
READ_AHEAD = 32  # images


def read_scenes(coco_path: Path, image_dir: Path, max_side: int) -> Iterator[Scene]:
    """Read images with their polygons, reduced to at most `max_side` px, in the order of the COCO file."""
    coco = read_json(coco_path)
    annotations = by_image(coco["annotations"])
    entries = iter(coco["images"])
    with ThreadPoolExecutor() as pool:
        while chunk := list(islice(entries, READ_AHEAD)):
            images = pool.map(lambda entry: read_image(image_dir / entry["file_name"], max_side), chunk)
            for entry, image in zip(chunk, images, strict=True):
                scale_xy = torch.tensor([image.shape[2] / entry["width"], image.shape[1] / entry["height"]])
                objects = annotations[entry["id"]]
                polygons = [torch.tensor(o["segmentation"][0], dtype=torch.float32).view(-1, 2) for o in objects]
                yield Scene(image, [polygon * scale_xy for polygon in polygons], [o["category_id"] for o in objects])


def keep_on_disk(scenes: Iterator[Scene]) -> list[Scene]:
    """Move the scenes' images into an unnamed file that is mapped into memory.

    The system caches as much of it as fits into memory, and all workers share that.
    """
    moved, places = [], []
    with tempfile.TemporaryFile(dir=STORE_DIR) as file:
        for scene in scenes:
            places.append((file.tell(), scene.image.shape))
            file.write(scene.image.numpy())
            moved.append(scene._replace(image=torch.empty(0)))
        if not moved:
            return []
        file.flush()
        stored = torch.from_numpy(np.memmap(file, np.uint8, mode="c"))  # "c": torch warns about read-only arrays
    return [
        scene._replace(image=stored[start : start + shape.numel()].view(shape))
        for scene, (start, shape) in zip(moved, places, strict=True)
    ]
