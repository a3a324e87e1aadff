"""Loading the batches of all epochs with worker processes."""

import os
import sys

import torch
from torch.utils.data import DataLoader

from viadet.augmentation.training_set import TrainingSet, collate, epoch_batches
from viadet.project.params import TrainParams
from viadet.training.processes import ALONE, Group

MAX_WORKERS = 8
# of workers; they map the decoded images themselves, so `spawn` works as well, but imports torch again in each
START_METHOD = "fork" if sys.platform == "linux" else "spawn"


def make_loader(
    images: TrainingSet, params: TrainParams, device: torch.device, first_epoch: int, group: Group = ALONE
) -> DataLoader:
    """Load the batches of all epochs from `first_epoch` on with one iterator, so that workers are never restarted.

    Of each batch, one of several processes loads its share.
    """
    batches = (
        group.share_of(batch)
        for epoch in range(first_epoch, params.epochs)
        for batch in epoch_batches(len(images), params.batch_size, params.accumulate, epoch, params.seed)
    )
    workers = params.workers
    if workers == "auto":
        # On a CPU the network needs the cores; one worker is enough to have the next batch ready.
        spare_cores = max(1, ((os.cpu_count() or 1) - 1) // group.local_count)
        workers = 1 if device.type == "cpu" else min(MAX_WORKERS, spare_cores)
    return DataLoader(
        images,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        # Its base seed would be drawn from the generator that drop path uses: once more after a resume.
        generator=torch.Generator(),
        multiprocessing_context=START_METHOD if workers else None,
    )
