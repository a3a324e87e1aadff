"""Loading the batches of all epochs with worker processes."""

import signal
import sys

import torch
from torch.utils.data import DataLoader

from viadet.augmentation.training_set import TrainingSet, collate, epoch_batches
from viadet.network.device import default_workers
from viadet.project.params import TrainParams
from viadet.training.processes import ALONE, Group

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
        for batch in epoch_batches(
            len(images), params.batch_size, params.accumulate, epoch, params.seed, images.repeat_factors
        )
    )
    workers = default_workers(device, group.local_count) if params.workers == "auto" else params.workers
    return DataLoader(
        images,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        # Its base seed would be drawn from the generator that drop path uses: once more after a resume.
        generator=torch.Generator(),
        multiprocessing_context=START_METHOD if workers else None,
        worker_init_fn=ignore_interrupts,
    )


def ignore_interrupts(worker: int) -> None:
    """Leave Ctrl-C, which terminals send to all processes, to the training, which ends its workers.

    A worker that ended by itself might have a lock, for which the training would wait without end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
