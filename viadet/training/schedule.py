"""How many batches, steps and epochs a training has, and its learning rate at each step."""

import math
from typing import NamedTuple

from viadet.augmentation.training_set import epoch_batches
from viadet.project.params import TrainParams


class Schedule(NamedTuple):
    """The counts of a training; a step is an update of the weights by the gradients of `accumulate` batches."""

    epochs: int
    batch_size: int  # images
    batches_per_epoch: int
    accumulate: int
    warmup_steps: int

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps of an epoch."""
        return self.batches_per_epoch // self.accumulate

    @property
    def steps(self) -> int:
        """Number of steps of all epochs."""
        return self.epochs * self.steps_per_epoch

    @property
    def images_per_epoch(self) -> int:
        """Number of images that an epoch trains on; the remainder is left out."""
        return self.batches_per_epoch * self.batch_size

    @property
    def images(self) -> int:
        """Number of images of all epochs."""
        return self.epochs * self.images_per_epoch

    def learning_rate_factor(self, step: int) -> float:
        """Rise linearly to 1, then fall along a cosine to 0 (Loshchilov and Hutter 2017).

        Args:
            step: from 0.
        """
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        after_warmup, all_after_warmup = step - self.warmup_steps, max(1, self.steps - self.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * after_warmup / all_after_warmup))


def make_schedule(images: int, params: TrainParams) -> Schedule:
    """Count the batches and steps of a training on so many images."""
    batches_per_epoch = len(epoch_batches(images, params.batch_size, params.accumulate, 0, params.seed))
    accumulate = min(params.accumulate, batches_per_epoch)
    steps_per_epoch = batches_per_epoch // accumulate
    warmup_steps = min(params.epochs * steps_per_epoch, round(params.warmup_epochs * steps_per_epoch))
    return Schedule(params.epochs, min(params.batch_size, images), batches_per_epoch, accumulate, warmup_steps)
