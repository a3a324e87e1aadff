"""Training in several processes that torchrun starts, one for each GPU, on one machine or on several.

Gradients, loss and batch norms are those of the whole batch, of which each process has a share.
"""

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import MethodType
from typing import NamedTuple, TypeVar

import torch
from timm.layers import BatchNormAct2d, DropPath, convert_sync_batchnorm
from torch import distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.parallel import DistributedDataParallel

from viadet.network.effdet_parts import DetBenchTrain
from viadet.project.errors import INTERRUPTED, TERMINATED, Terminated, UserError

TIMEOUT = timedelta(hours=2)  # of waiting for another process; all wait while the first one validates
ECHO_SECONDS = 10.0  # until an error is told that another process may have told: then torchrun ends this one before

Value = TypeVar("Value")


class Group(NamedTuple):
    """The processes of a training, and which of them this one is."""

    rank: int = 0  # of this process
    count: int = 1  # on all machines
    local_rank: int = 0  # of this process on its machine
    local_count: int = 1  # on this machine

    @property
    def is_first(self) -> bool:
        """Tell whether this is the process that prints, validates and writes."""
        return self.rank == 0

    def share_of(self, batch: list[Value]) -> list[Value]:
        """Select this process's part of a batch."""
        size = len(batch) // self.count
        return batch[self.rank * size : (self.rank + 1) * size]

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Average a tensor over the processes; they all have the same result."""
        if self.count == 1:
            return values
        total = values.clone()
        distributed.all_reduce(total)
        return total / self.count

    def from_first(self, make: Callable[[], Value]) -> Value:
        """Make a value in the first process only, and give all others a copy."""
        if self.count == 1:
            return make()
        values = [make() if self.is_first else None]
        distributed.broadcast_object_list(values)
        return values[0]

    def by_machine(self, make: Callable[[], Value]) -> Value:
        """Make a value in one process of each machine, and give the others of that machine a copy."""
        if self.count == 1:
            return make()
        value = make() if self.local_rank == 0 else None
        values = [None] * self.count
        distributed.all_gather_object(values, value)
        return value if self.local_rank == 0 else values[self.rank - self.local_rank]  # no copy where it was made

    def check_same_training(self, key: str) -> None:
        """Compare the `training_key` of all processes, so that all of them end if one differs.

        Raises:
            UserError: they differ.
        """
        keys = [key] * self.count
        if self.count > 1:
            distributed.all_gather_object(keys, key)
        if len(set(keys)) > 1:
            raise UserError(
                "the machines do not have the same params, code, data and libraries; compare `git rev-parse HEAD`, "
                "`git status` and `dvc status` on all of them; if all agree, set train.precision, as `auto` differs"
            )


ALONE = Group()


def check_shares(batch_size: int, count: int) -> None:
    """Check that so many processes can share a batch of so many images evenly.

    Raises:
        UserError: they can't; names the params to change.
    """
    if batch_size % count:
        divisors = ", ".join(str(number) for number in range(1, batch_size + 1) if batch_size % number == 0)
        raise UserError(
            f"{count} processes can't share a batch of {batch_size} images evenly; set train.batch_size to a multiple "
            f"of {count}, or --nproc-per-node of torchrun to one of {divisors}"
        )


@contextlib.contextmanager
def told_once() -> Iterator[None]:
    """Run the block in one of the processes that torchrun started, or alone; several end with a single error line.

    The first process tells its errors at once, the others wait: torchrun ends them if they have the same one, or one
    that only says that a process has gone. Why it ends them it says itself.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    is_first, has_failed = os.environ["RANK"] == "0", True
    try:
        try:
            yield
            has_failed = False
        except Exception as error:
            if not (is_first and isinstance(error, UserError | OSError)):
                time.sleep(ECHO_SECONDS)
            raise
    except Terminated:
        sys.exit(TERMINATED)
    except KeyboardInterrupt:
        if is_first:
            raise
        sys.exit(INTERRUPTED)
    finally:
        # Gloo's threads would end in an abort; NCCL would wait for the other processes
        if distributed.is_initialized() and not (has_failed and torch.cuda.is_initialized()):
            distributed.destroy_process_group()


def join_group(device: torch.device) -> Group:
    """Connect this process with the others, and give it a GPU or a share of the CPU's threads; none if it is alone.

    Call it after `pick_device`: torch decides at the first computation how it computes.

    Raises:
        UserError: the device can't train in several processes, or has fewer GPUs than this machine has processes.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")  # as torchrun sets them
    defaults = ("0", "1", "0", "1")
    group = Group(*(int(os.environ.get(name, value)) for name, value in zip(names, defaults, strict=True)))
    if group.count == 1:
        if device.type == "cuda" and torch.cuda.device_count() > 1:
            print(f"training on one of {torch.cuda.device_count()} GPUs; params.yaml's launch can take all")
        return ALONE
    if device.type == "cuda":
        if group.local_count > (gpus := torch.cuda.device_count()):
            raise UserError(f"{group.local_count} processes on a machine where torch sees {gpus} GPUs; start {gpus}")
        torch.cuda.set_device(group.local_rank)
    elif device.type == "cpu":
        torch.set_num_threads(max(1, torch.get_num_threads() // group.local_count))
    else:
        raise UserError(f"train.device {device.type} can't train in several processes; start one")
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    if not group.is_first:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
        warnings.simplefilter("ignore")
    return group


def distribute(bench: DetBenchTrain) -> DistributedDataParallel:
    """Wrap a network with its loss in DistributedDataParallel, so that each step is that of a single process.

    Call it after freezing: only what needs a gradient is exchanged, only batch norms in training are synchronised.
    """
    bench.loss_fn = WholeBatchLoss(bench.loss_fn)
    if next(bench.parameters()).is_cuda:
        convert_sync_batchnorm(bench)  # timm's, as torch's own would drop the activations of timm's layers
    else:
        synchronise_batch_norms(bench)
    share_drop_paths(bench)
    return DistributedDataParallel(bench)


class WholeBatchLoss(nn.Module):
    """A loss divided by the number of anchors with an object in the whole batch, instead of this process's share.

    DistributedDataParallel averages gradients over processes. The loss of each process is multiplied by their number,
    so that the average is the sum over all images, divided once.
    """

    def __init__(self, loss_fn: nn.Module) -> None:
        """Take effdet's `DetectionLoss`, or one like it."""
        super().__init__()
        self.loss_fn = loss_fn

    def forward(
        self,
        class_out: list[torch.Tensor],
        box_out: list[torch.Tensor],
        class_targets: list[torch.Tensor],
        box_targets: list[torch.Tensor],
        num_positives: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Compute loss, class loss and box loss; their means over processes are those of the whole batch."""
        total = num_positives.sum()
        distributed.all_reduce(total)
        # both losses divide by the sum of this argument plus 1
        share = (total + 1) / distributed.get_world_size() - 1
        return self.loss_fn(class_out, box_out, class_targets, box_targets, share)


def synchronise_batch_norms(network: nn.Module) -> None:
    """Have the batch norms of a network on the CPU use the mean and variance of the whole batch.

    On CUDA torch has SyncBatchNorm for this.
    """
    warnings.filterwarnings("ignore", "torch.distributed.nn.functional.all_reduce is deprecated", FutureWarning)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.training:
            module.forward = MethodType(normalise_by_whole_batch, module)


def normalise_by_whole_batch(module: nn.BatchNorm2d, activations: torch.Tensor) -> torch.Tensor:
    """Compute what a batch norm in training does, with statistics over all processes (Peng et al. 2018, MegDet).

    Args:
        module: its running statistics are updated.
        activations: [B, C, H, W], of as many images in each process; under autocast of fewer bits.
    """
    processes = distributed.get_world_size()
    count = processes * activations.numel() // activations.shape[1]
    mean = all_reduce(activations.float().mean((0, 2, 3))) / processes
    deviations = activations - mean[:, None, None]
    variance = all_reduce(deviations.square().mean((0, 2, 3))) / processes
    with torch.no_grad():
        module.num_batches_tracked.add_(1)
        module.running_mean.lerp_(mean, module.momentum)
        module.running_var.lerp_(variance * (count / (count - 1)), module.momentum)
    scale = module.weight * (variance + module.eps).rsqrt()
    normalised = (deviations * scale[:, None, None] + module.bias[:, None, None]).to(activations.dtype)
    return module.act(module.drop(normalised)) if isinstance(module, BatchNormAct2d) else normalised


def share_drop_paths(network: nn.Module) -> None:
    """Have each process draw the random numbers of the whole batch, from generators that are in step, for its share."""
    for module in network.modules():
        if isinstance(module, DropPath):
            module.forward = MethodType(drop_paths_of_share, module)


def drop_paths_of_share(module: DropPath, activations: torch.Tensor) -> torch.Tensor:
    """Compute what timm's `DropPath` does with this process's images in the whole batch, [B, C, H, W]."""
    if not (module.training and module.drop_prob):
        return activations
    images, kept = len(activations), 1 - module.drop_prob
    start = distributed.get_rank() * images
    is_kept = activations.new_empty(distributed.get_world_size() * images, 1, 1, 1).bernoulli_(kept)
    scale = kept if module.scale_by_keep else 1.0
    return activations * (is_kept[start : start + images] / scale)
