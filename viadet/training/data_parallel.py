"""The network with its loss in several processes: gradients, loss and batch norms are those of the whole batch."""

from types import MethodType
from typing import Any

import torch
from effdet import DetBenchTrain
from timm.layers import BatchNormAct2d, DropPath, convert_sync_batchnorm
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


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
    mean = SumOverProcesses.apply(activations.float().mean((0, 2, 3))) / processes
    deviations = activations - mean[:, None, None]
    variance = SumOverProcesses.apply(deviations.square().mean((0, 2, 3))) / processes
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


class SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; each process's loss depends on the tensors of all."""

    @staticmethod
    def forward(context: Any, values: torch.Tensor) -> torch.Tensor:
        """Add up the values."""
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        """Add up the gradients of all losses."""
        return SumOverProcesses.forward(context, gradient)
