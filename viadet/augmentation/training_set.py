"""The training set: samples by (epoch, image), images that occur more often than others, the batches of an epoch."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.data import Dataset

from viadet.annotations.object_sizes import largest_scale_for
from viadet.augmentation.augment import augment
from viadet.augmentation.copy_paste import CutOuts
from viadet.augmentation.objects import Sample
from viadet.augmentation.randomness import seed_of
from viadet.augmentation.scenes import Scenes, SceneStore
from viadet.project.counting import counted
from viadet.project.errors import UserError
from viadet.project.files import read_json
from viadet.project.params import TrainParams

SMALL_SCALE = 2 / 3  # of the input's sides in the first epochs
NO_OBJECT = -1.0  # label and box of padding; zeros would be taken for objects
LARGEST_STRIDE = 128  # px of a small input, of P7: the levels of the neck are each half of the one before
SEEDS = 2**63  # there are that many seeds of `seed_of`

# effdet's: "bbox" float32 [B, M, 4] as yxyx px, "cls" float32 [B, M] from 1 (-2: IGNORED, -1: none)
Targets = dict[str, torch.Tensor]


class TrainingSet(Dataset):
    """Augmented samples; the same (seed, epoch, image) gives the same sample on any worker, in any order."""

    def __init__(
        self,
        coco_path: Path,
        image_dir: Path,
        params: TrainParams,
        input_wh: tuple[int, int],
        fill_rgb: tuple[int, int, int],
        owner: str | None = "train",
    ) -> None:
        """Decode every image once, no larger than the largest scale needs it.

        Args:
            coco_path: of the training split.
            image_dir: its file names start here.
            params: the `train` section.
            input_wh: size of the network's input, px.
            fill_rgb: colour beside the photographs.
            owner: as in SceneStore; None stores nothing and decodes an image whenever a sample needs it.

        Raises:
            UserError: there are no images, one can't be read, or they do not fit onto the disk.
        """
        params = with_scale(params, coco_path, input_wh)
        max_side = round(max(input_wh) * max(1.0, params.augment.scale[1]))
        scenes = Scenes(coco_path, image_dir, max_side)
        if not scenes:
            raise UserError(f"{coco_path} has no images")
        self.scenes = scenes if owner is None else SceneStore(scenes, owner)
        self.cut_outs = CutOuts(self.scenes, scenes.outlines())
        labels = [scenes.labels(index) for index in range(len(scenes))]
        self.repeat_factors = repeat_factors(labels, params.repeat_threshold)
        self.params, self.input_wh, self.fill_rgb = params, input_wh, fill_rgb

    def __len__(self) -> int:
        """Count the images."""
        return len(self.scenes)

    def input_wh_in(self, epoch: int) -> tuple[int, int]:
        """Width and height of the inputs of an epoch, counted from 0, px.

        Small inputs first make early epochs cheap (progressive resizing, Tan and Le 2021, section 4).
        """
        if epoch >= round(self.params.small_share * self.params.epochs):
            return self.input_wh
        width, height = (max(1, round(side * SMALL_SCALE / LARGEST_STRIDE)) * LARGEST_STRIDE for side in self.input_wh)
        return width, height

    def input_wh_by_epoch(self) -> list[tuple[int, int]]:
        """List the inputs' width and height of all epochs, px."""
        return [self.input_wh_in(epoch) for epoch in range(self.params.epochs)]

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Make the sample of (epoch, image).

        An image's number plus once or several times the number of all images is a repetition of it: another sample.
        """
        epoch, index = key
        params = self.params.augment
        if epoch >= self.params.epochs - params.plain_epochs:
            params = params.model_copy(update={"copy_paste": 0, "mosaic": 0.0})
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: without workers it would seed CUDA's generators as well.
            torch.default_generator.manual_seed(seed_of(self.params.seed, epoch, index))
            scene = index % len(self)
            return augment(self.scenes, scene, self.cut_outs, params, self.input_wh_in(epoch), self.fill_rgb)

    def describe_repeats(self) -> str:
        """Tell for people how many images `repeat_threshold` repeats, and how often."""
        count, images = sum(factor > 1 for factor in self.repeat_factors), counted(len(self), "image")
        what = f"{count} of {images}, the rarest {max(self.repeat_factors):.1f} times an epoch"
        what = what if count else f"none of {images}, as each class is in a larger share of them"
        return f"train.repeat_threshold {self.params.repeat_threshold} repeats {what}"


def with_scale(params: TrainParams, coco_path: Path, input_wh: tuple[int, int]) -> TrainParams:
    """Put the number that `auto` stands for into the range of the random scale, if it says so.

    Args:
        params: the `train` section.
        coco_path: of the training split.
        input_wh: size of the network's input, px.
    """
    low, high = params.augment.scale
    if high != "auto":
        return params
    scale = [low, largest_scale_for(read_json(coco_path), input_wh)]
    augment_params = params.augment.model_copy(update={"scale": scale})
    return params.model_copy(update={"augment": augment_params})


def repeat_factors(labels: Sequence[Sequence[int]], threshold: float | None) -> list[float]:
    """Compute how often each image occurs, so that rare classes do more often (Gupta et al. 2019, LVIS).

    A class in a share f of the images has the factor max(1, sqrt(threshold / f)), an image the largest of its classes'.

    Args:
        labels: of each image's objects.
        threshold: share of the images from which on a class is not rare; None: no class is.

    Returns:
        A factor by image, at least 1.
    """
    images_with = Counter(label for of_image in labels for label in set(of_image))
    threshold = threshold or 0.0
    factors = {label: max(1.0, math.sqrt(threshold * len(labels) / count)) for label, count in images_with.items()}
    return [max((factors[label] for label in of_image), default=1.0) for of_image in labels]


def occurrences(factor: float, *numbers: int) -> int:
    """Round a repeat factor up or down at random, by (seed, epoch, image): the mean over epochs is the factor."""
    whole = int(factor)
    rest = factor - whole
    return whole + (rest > 0 and seed_of(*numbers) < rest * SEEDS)


def epoch_batches(
    images: int, batch_size: int, accumulate: int, epoch: int, seed: int, factors: Sequence[float] = ()
) -> list[list[tuple[int, int]]]:
    """Shuffle an epoch into full batches of (epoch, image), and full steps of `accumulate` batches.

    The remainder is left out, other images each time: batch norm works poorly on small batches. An epoch with too
    few batches for a step of `accumulate` is a single step of all of them.

    Repeated images, by their factors if there are any, make an epoch no longer: more of the others are left out. So
    they change neither the number of steps nor the time of a training, as in LVIS, which counts iterations.
    """
    size = min(batch_size, images)
    count = images // size
    count -= count % min(accumulate, count)
    repeats = [occurrences(factor, seed, epoch, index) for index, factor in enumerate(factors)] or [1] * images
    numbers = [index + images * repeat for index, times in enumerate(repeats) for repeat in range(times)]
    generator = torch.Generator().manual_seed(seed_of(seed, epoch))
    order = [numbers[place] for place in torch.randperm(len(numbers), generator=generator).tolist()]
    return [[(epoch, index) for index in order[start : start + size]] for start in range(0, count * size, size)]


def collate(samples: list[Sample]) -> tuple[torch.Tensor, Targets]:
    """Stack samples; boxes and labels are padded with NO_OBJECT.

    Returns:
        Images, uint8 [B, 3, H, W], and effdet's targets.
    """
    max_objects = max(1, *(len(sample.labels) for sample in samples))
    boxes_yxyx = torch.full((len(samples), max_objects, 4), NO_OBJECT)
    labels = torch.full((len(samples), max_objects), NO_OBJECT)
    for row, sample in enumerate(samples):
        boxes_yxyx[row, : len(sample.labels)] = sample.boxes_xyxy[:, [1, 0, 3, 2]]
        labels[row, : len(sample.labels)] = sample.labels.float()
    return torch.stack([sample.image for sample in samples]), {"bbox": boxes_yxyx, "cls": labels}
