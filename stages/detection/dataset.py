"""The training images: decoded once, augmented anew in every epoch, whatever the number of workers."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from stages.detection.augment import CutOuts, Sample, Scene, augment
from stages.detection.cli import StageError
from stages.detection.coco import by_image
from stages.detection.files import read_json
from stages.detection.images import read_image
from stages.detection.params import TrainParams

STORE_DIR = Path("data")  # not the system's temporary folder: that one may itself be memory
READ_AHEAD = 32  # images


def read_scenes(coco_path: Path, image_dir: Path, max_side: int) -> Iterator[Scene]:
    """Read images with their polygons, reduced to at most `max_side` px, in the order of the COCO file."""
    coco = read_json(coco_path)
    annotations = by_image(coco["annotations"])
    entries = iter(coco["images"])
    with ThreadPoolExecutor() as pool:
        while some := list(islice(entries, READ_AHEAD)):
            images = pool.map(lambda entry: read_image(image_dir / entry["file_name"], max_side), some)
            for entry, image in zip(some, images, strict=True):
                scale_xy = torch.tensor([image.shape[2] / entry["width"], image.shape[1] / entry["height"]])
                mine = annotations[entry["id"]]
                outlines = [torch.tensor(a["segmentation"][0], dtype=torch.float32).view(-1, 2) for a in mine]
                yield Scene(image, [outline * scale_xy for outline in outlines], [a["category_id"] for a in mine])


def keep_on_disk(scenes: Iterator[Scene]) -> list[Scene]:
    """Move the scenes' images into a nameless file that is mapped into memory.

    The system keeps as much of it in memory as there is room for, and all workers share that.
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
        stored = torch.from_numpy(np.memmap(file, np.uint8, mode="c"))  # "c": torch warns about what it can't write to
    return [
        scene._replace(image=stored[start : start + shape.numel()].view(shape))
        for scene, (start, shape) in zip(moved, places, strict=True)
    ]


class TrainingSet(Dataset):
    """Augmented samples; the same (seed, epoch, image) gives the same sample on any worker, in any order."""

    def __init__(
        self,
        coco_path: Path,
        image_dir: Path,
        params: TrainParams,
        input_wh: tuple[int, int],
        fill_rgb: tuple[int, int, int],
    ) -> None:
        """Decode every image once, no larger than the largest scale needs it."""
        max_side = round(max(input_wh) * max(1.0, params.augment.scale[1]))
        self.scenes = keep_on_disk(read_scenes(coco_path, image_dir, max_side))
        if not self.scenes:
            raise StageError(f"{coco_path} has no images")
        self.cut_outs = CutOuts(self.scenes)
        self.params, self.input_wh, self.fill_rgb = params, input_wh, fill_rgb

    def __len__(self) -> int:
        """Count the images."""
        return len(self.scenes)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Make the sample of (epoch, image)."""
        epoch, index = key
        params = self.params.augment
        if epoch >= self.params.epochs - params.plain_epochs:
            params = params.model_copy(update={"copy_paste": 0, "mosaic": 0.0})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_seed_of(self.params.seed, epoch, index))
            return augment(self.scenes, index, self.cut_outs, params, self.input_wh, self.fill_rgb)


def epoch_batches(images: int, batch_size: int, accumulate: int, epoch: int, seed: int) -> list[list[tuple[int, int]]]:
    """Shuffle an epoch into full batches of (epoch, image), and full steps of `accumulate` batches.

    The remainder is left out, other images each time: batch norm does badly on small batches. An epoch too short for a
    step of so many batches is a step of fewer.
    """
    size = min(batch_size, images)
    count = images // size
    count -= count % min(accumulate, count)
    order = torch.randperm(images, generator=torch.Generator().manual_seed(_seed_of(seed, epoch))).tolist()
    return [[(epoch, index) for index in order[start : start + size]] for start in range(0, count * size, size)]


def collate(samples: list[Sample]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Stack samples; boxes and labels are padded with -1, which effdet ignores (zeros would be taken for objects).

    Returns:
        Images, uint8 [B, 3, H, W]; effdet's targets: "bbox" float32 [B, M, 4] as yxyx px, "cls" float32 [B, M] from 1.
    """
    most = max(1, *(len(sample.labels) for sample in samples))
    boxes_yxyx = torch.full((len(samples), most, 4), -1.0)
    labels = torch.full((len(samples), most), -1.0)
    for row, sample in enumerate(samples):
        boxes_yxyx[row, : len(sample.labels)] = sample.boxes_xyxy[:, [1, 0, 3, 2]]
        labels[row, : len(sample.labels)] = sample.labels.float()
    return torch.stack([sample.image for sample in samples]), {"bbox": boxes_yxyx, "cls": labels}


def _seed_of(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
