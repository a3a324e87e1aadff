"""Random numbers of the augmentation, from torch's default generator, which the training set seeds for each sample."""

import numpy as np
import torch


def uniform(low: float, high: float) -> float:
    """Draw a number between two others."""
    return low + (high - low) * float(torch.rand(()))


def seed_of(*numbers: int) -> int:
    """Mix numbers, such as (seed, epoch, image), into one seed."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
