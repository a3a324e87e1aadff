"""The optimizer and the frozen parts of the backbone."""

import torch
from timm.optim import param_groups_weight_decay
from torch import nn
from torch.optim import Optimizer

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
    is_cuda = next(network.parameters()).is_cuda
    return torch.optim.AdamW(groups, lr=params.lr, fused=is_cuda or None)  # one kernel; on a CPU as torch has it
