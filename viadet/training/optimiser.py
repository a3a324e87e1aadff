"""What makes a step: the weights that learn, the optimizer, and the schedule of its learning rate."""

import math
from typing import NamedTuple

import torch
from timm.optim import param_groups_weight_decay
from torch import nn
from torch.optim import Optimizer

from viadet.augmentation.training_set import epoch_batches
from viadet.project.errors import UserError
from viadet.project.params import TrainParams

MOMENTUM = 0.9  # of SGD


def freeze(network: nn.Module, params: TrainParams) -> None:
    """Freeze early stages of the backbone, or its batch norms; call it after each `train()`.

    Raises:
        UserError: the backbone has fewer stages.
    """
    backbone = network.backbone
    blocks = getattr(backbone, "blocks", ())  # ResNets have none
    if params.frozen_stages > len(blocks):
        raise UserError(f"train.frozen_stages is {params.frozen_stages}, but the backbone has {len(blocks)} blocks")
    stem = [module for name, module in backbone.named_children() if name in ("conv_stem", "bn1")]
    frozen = [*stem, *blocks[: params.frozen_stages]] if params.frozen_stages else []
    if params.freeze_batch_norm:
        frozen += [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in frozen:
        module.eval().requires_grad_(False)


def make_optimizer(network: nn.Module, params: TrainParams) -> Optimizer:
    """AdamW or SGD; biases and batch norm don't decay, the backbone has a learning rate of its own.

    Args:
        network: on the device that trains it.
        params: the `train` section.
    """
    groups = []
    for name, part in network.named_children():
        lr = params.lr * (params.backbone_lr if name == "backbone" else 1)
        groups += [group | {"lr": lr} for group in param_groups_weight_decay(part, params.weight_decay)]
    groups = [group for group in groups if group["params"]]
    if params.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=params.lr, momentum=MOMENTUM, nesterov=True)
    has_fused = next(network.parameters()).device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, lr=params.lr, fused=has_fused or None)  # one kernel for all weights


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
