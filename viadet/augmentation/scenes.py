"""The training photographs, decoded once."""

import contextlib
import os
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from viadet.annotations.coco import by_image
from viadet.augmentation.objects import Scene
from viadet.images.pixels import read_image
from viadet.project.files import read_json, temporary_path

STORE_DIR = Path("data")  # not the system's temporary folder: that one may itself be memory
STORE_NUMBERS = count(1)  # a process may have several
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


class StoredScene(NamedTuple):
    """A scene whose image is in a file; pickled for a worker process, it is small."""

    start: int  # of the image in the file, bytes
    shape: tuple[int, int, int]  # 3, H, W
    polygons: list[np.ndarray]  # as in Scene; each tensor would take a file descriptor when it is pickled
    labels: list[int]


class SceneStore(Sequence):
    """Scenes whose images are in one file, mapped into memory one at a time when they are asked for.

    The system caches as much of the file as fits into memory, and all processes share that. Nothing keeps the file
    open in between: worker processes need no more than its name however they start, and Windows can remove it.
    """

    def __init__(self, scenes: Iterator[Scene], owner: str) -> None:
        """Write the images into a file, which is removed with this object, or at the latest when the process ends.

        Its name contains `owner`: no other process that runs in this folder may have the same.
        """
        self.path = temporary_path(STORE_DIR.absolute() / f"decoded_images_{owner}_{next(STORE_NUMBERS)}")
        self.path.unlink(missing_ok=True)  # of a killed process
        self.scenes = []
        remove = weakref.finalize(self, _remove_file, self.path, os.getpid())
        try:
            with self.path.open("wb") as file:
                for scene in scenes:
                    polygons = [polygon.numpy() for polygon in scene.polygons]
                    self.scenes.append(StoredScene(file.tell(), tuple(scene.image.shape), polygons, scene.labels))
                    file.write(scene.image.numpy())
        except BaseException:
            remove()  # now: the error's traceback keeps this object
            raise

    def __len__(self) -> int:
        """Count the scenes."""
        return len(self.scenes)

    def __getitem__(self, index: int) -> Scene:
        """Map the image of a scene, uint8 [3, H, W]."""
        scene = self.scenes[index]
        # "c": torch warns about read-only arrays
        image = np.memmap(self.path, np.uint8, mode="c", offset=scene.start, shape=scene.shape)
        polygons = [torch.from_numpy(polygon) for polygon in scene.polygons]
        return Scene(torch.from_numpy(image), polygons, scene.labels)


def _remove_file(path: Path, owner_pid: int) -> None:
    if os.getpid() == owner_pid:  # not when a forked worker ends
        with contextlib.suppress(OSError):  # on Windows, if a worker has it open: the next run removes it
            path.unlink()
