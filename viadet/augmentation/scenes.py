"""The training photographs, decoded when they are asked for, or once into a file."""

import contextlib
import os
import shutil
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from viadet.annotations.coco import by_image
from viadet.augmentation.objects import Outlines, Scene
from viadet.images.pixels import read_image
from viadet.project.errors import UserError
from viadet.project.files import read_json, temporary_path

STORE_DIR = Path("data")  # not the system's temporary folder: that one may itself be memory
STORE_NUMBERS = count(1)  # a process may have several
READ_AHEAD = 32  # images
GIB = 2**30  # bytes


class Scenes(Sequence):
    """The scenes of a COCO file, reduced to at most `max_side` px; each is decoded whenever it is asked for."""

    def __init__(self, coco_path: Path, image_dir: Path, max_side: int) -> None:
        """Read the COCO file; no image yet."""
        coco = read_json(coco_path)
        annotations = by_image(coco["annotations"])
        self.images, self.image_dir, self.max_side = coco["images"], image_dir, max_side
        self.objects = [annotations[image["id"]] for image in self.images]

    def __len__(self) -> int:
        """Count the scenes."""
        return len(self.images)

    def __getitem__(self, index: int) -> Scene:
        """Decode one."""
        image = read_image(self.image_dir / self.images[index]["file_name"], self.max_side)
        polygons = self.polygons(index, (image.shape[2], image.shape[1]))
        return Scene(image, polygons, self.labels(index))

    def read_ahead(self) -> Iterator[Scene]:
        """Decode all, in the order of the COCO file, a few at a time."""
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(self), READ_AHEAD):
                yield from pool.map(self.__getitem__, range(start, min(start + READ_AHEAD, len(self))))

    def outlines(self) -> Iterator[Outlines]:
        """Tell the size of each scene, its polygons and labels without decoding it."""
        for index in range(len(self)):
            yield Outlines(self.size_wh(index), self.polygons(index, self.size_wh(index)), self.labels(index))

    def size_wh(self, index: int) -> tuple[int, int]:
        """Tell the size of a scene without decoding it."""
        width, height = self.images[index]["width"], self.images[index]["height"]
        scale = min(1.0, self.max_side / max(width, height))
        return max(1, round(scale * width)), max(1, round(scale * height))

    def labels(self, index: int) -> list[int]:
        """Tell the label of each of a scene's objects, from 1."""
        return [o["category_id"] for o in self.objects[index]]

    def polygons(self, index: int, size_wh: tuple[int, int]) -> list[torch.Tensor]:
        """Scale a scene's polygons, [points, 2] each, to an image of this size."""
        image = self.images[index]
        scale_xy = torch.tensor([size_wh[0] / image["width"], size_wh[1] / image["height"]])
        polygons = [torch.tensor(o["segmentation"][0], dtype=torch.float32).view(-1, 2) for o in self.objects[index]]
        return [polygon * scale_xy for polygon in polygons]


class StoredScene(NamedTuple):
    """A scene whose image is in a file; pickled for a worker process, it is small."""

    start: int  # of the image in the file, bytes
    size_wh: tuple[int, int]
    polygons: list[np.ndarray]  # as in Scene; each tensor would take a file descriptor when it is pickled
    labels: list[int]


class SceneStore(Sequence):
    """Scenes whose images are in one file, mapped into memory one at a time when they are asked for.

    The system caches as much of the file as fits into memory, and all processes share that. Nothing keeps the file
    open in between: worker processes need no more than its name however they start, and Windows can remove it.
    """

    def __init__(self, scenes: Scenes, owner: str) -> None:
        """Write the images into a file, which is removed with this object, or at the latest when the process ends.

        Its name contains `owner`: no other process that runs in this folder may have the same.

        Raises:
            UserError: they do not fit onto the disk; an image can't be read.
        """
        check_space(scenes)
        self.path = temporary_path(STORE_DIR.absolute() / f"decoded_images_{owner}_{next(STORE_NUMBERS)}")
        self.path.unlink(missing_ok=True)  # of a killed process
        self.scenes = []
        remove = weakref.finalize(self, _remove_file, self.path, os.getpid())
        try:
            with self.path.open("wb") as file:
                for scene in scenes.read_ahead():
                    _, height, width = scene.image.shape
                    polygons = [polygon.numpy() for polygon in scene.polygons]
                    self.scenes.append(StoredScene(file.tell(), (width, height), polygons, scene.labels))
                    file.write(scene.image.permute(1, 2, 0).contiguous().numpy())
        except BaseException:
            remove()  # now: the error's traceback keeps this object
            raise

    def __len__(self) -> int:
        """Count the scenes."""
        return len(self.scenes)

    def __getitem__(self, index: int) -> Scene:
        """Map the image of a scene, uint8 [3, H, W], its channels side by side, as they are resized fastest."""
        scene = self.scenes[index]
        width, height = scene.size_wh
        # "c": torch warns about read-only arrays
        image = np.memmap(self.path, np.uint8, mode="c", offset=scene.start, shape=(height, width, 3))
        polygons = [torch.from_numpy(polygon) for polygon in scene.polygons]
        return Scene(torch.from_numpy(image).permute(2, 0, 1), polygons, scene.labels)


def check_space(scenes: Scenes) -> None:
    """Check that the disk has room for the decoded images of all scenes.

    Raises:
        UserError: it has not; names the params that need less.
    """
    sizes_wh = (scenes.size_wh(index) for index in range(len(scenes)))
    needed = sum(3 * width * height for width, height in sizes_wh)
    free = shutil.disk_usage(STORE_DIR).free
    if needed > free:
        raise UserError(
            f"decoded, the {len(scenes)} training images take {needed / GIB:.1f} GiB in the folder {STORE_DIR}, where "
            f"{free / GIB:.1f} GiB are free; free some, or lower model.image_size or the second number of "
            "train.augment.scale"
        )


def _remove_file(path: Path, owner_pid: int) -> None:
    if os.getpid() == owner_pid:  # not when a forked worker ends
        with contextlib.suppress(OSError):  # on Windows, if a worker has it open: the next run removes it
            path.unlink()
