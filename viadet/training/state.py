"""All that changes while a network is trained: setting it up, capturing it for a checkpoint, restoring it."""

import warnings
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from effdet import DetBenchTrain
from timm.utils import ModelEmaV3
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from viadet.network.build import NetworkSpec
from viadet.network.device import pick_precision
from viadet.project.params import TrainParams
from viadet.training.compilation import compile_network
from viadet.training.data_parallel import distribute
from viadet.training.history import History
from viadet.training.loss import CompleteIoULoss
from viadet.training.optimiser import freeze, make_optimizer
from viadet.training.processes import ALONE, Group, check_shares
from viadet.training.schedule import Schedule


class Training(NamedTuple):
    """All that takes part in a training step."""

    bench: nn.Module  # the network with its loss; in one of several processes within DistributedDataParallel
    network: nn.Module
    average: ModelEmaV3  # moving average of the network's weights
    optimizer: Optimizer
    lr_schedule: LambdaLR
    schedule: Schedule
    params: TrainParams
    spec: NetworkSpec
    device: torch.device
    precision: torch.dtype  # of convolutions and products in training
    scaler: torch.amp.GradScaler  # keeps gradients in the range of float16; without effect for other types
    group: Group  # of processes that train this network


def set_up(
    network: nn.Module,
    spec: NetworkSpec,
    params: TrainParams,
    device: torch.device,
    schedule: Schedule,
    group: Group = ALONE,
) -> Training:
    """Set up a training: move the network to the device, freeze parts of it, make average and optimizer.

    Raises:
        UserError: `train.compile` is set, but torch.compile does not work here; the processes can't share a batch.
    """
    bench = DetBenchTrain(network).to(device).train()
    if params.box_loss == "ciou":
        bench.loss_fn = CompleteIoULoss(bench)
    freeze(network, params)
    average = ModelEmaV3(network, decay=params.ema_decay, use_warmup=True)
    optimizer = make_optimizer(network, params)
    lr_schedule = LambdaLR(optimizer, schedule.learning_rate_factor)
    precision = pick_precision(params.precision, device)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    if scaler.is_enabled():  # it may skip the first step, which the schedule counts all the same
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
    if params.compile:
        compile_network(network, device)
    if group.count > 1:
        check_shares(schedule.batch_size, group.count)
        bench = distribute(bench)
    return Training(
        bench, network, average, optimizer, lr_schedule, schedule, params, spec, device, precision, scaler, group
    )


def capture(training: Training, history: History) -> dict[str, Any]:
    """Collect all that training continues from; samples need no state, as (seed, epoch, image) determine them."""
    is_cuda = training.device.type == "cuda"
    return {
        "network": training.network.state_dict(),
        "state_dict_ema": training.average.module.state_dict(),  # under this name `model.init` takes it for weights
        "optimizer": training.optimizer.state_dict(),
        "lr_schedule": training.lr_schedule.state_dict(),
        "scaler": training.scaler.state_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state(training.device) if is_cuda else None,
        "random_mps": torch.mps.get_rng_state() if training.device.type == "mps" else None,
        "history": asdict(history),
    }


def restore(training: Training, state: dict[str, Any]) -> None:
    """Load a captured state into a training that was just set up."""
    training.network.load_state_dict(state["network"])
    training.average.module.load_state_dict(state["state_dict_ema"])
    training.optimizer.load_state_dict(state["optimizer"])
    training.lr_schedule.load_state_dict(state["lr_schedule"])
    training.scaler.load_state_dict(state["scaler"])
    torch.set_rng_state(state["random"])
    if training.device.type == "cuda" and state["random_cuda"] is not None:
        torch.cuda.set_rng_state(state["random_cuda"], training.device)
    if training.device.type == "mps" and state["random_mps"] is not None:
        torch.mps.set_rng_state(state["random_mps"])
