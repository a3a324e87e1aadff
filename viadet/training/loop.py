"""The training loop."""

import math
import time
from collections.abc import Callable, Iterable
from itertools import islice

import torch
from torch import nn
from tqdm import tqdm

from viadet.augmentation.training_set import Targets, TrainingSet
from viadet.network.build import NetworkSpec, prepare_images
from viadet.project.errors import UserError
from viadet.project.params import TrainParams
from viadet.training.checkpoint import Checkpoints
from viadet.training.history import History
from viadet.training.loader import make_loader
from viadet.training.schedule import Schedule, make_schedule
from viadet.training.state import Training, capture, restore, set_up

CHECK_EVERY = 20  # steps on CUDA


def train(
    network: nn.Module,
    spec: NetworkSpec,
    images: TrainingSet,
    params: TrainParams,
    device: torch.device,
    validate: Callable[[nn.Module], dict[str, float]],
    checkpoints: Checkpoints,
) -> tuple[nn.Module, History]:
    """Train the network in place and return the moving average of its weights, which is what detects.

    A training that was cut short continues from its newest checkpoint and ends as if it had not been.

    Args:
        network: with its starting weights.
        spec: what the network is.
        images: to train on.
        params: the `train` section.
        device: to train on.
        validate: measures the averaged network, for the curve only; its figures go into the history.
        checkpoints: of this training.

    Raises:
        UserError: the loss or the gradients stop being finite; the last checkpoint stays.
    """
    schedule = make_schedule(len(images), params)
    training = set_up(network, spec, params, device, schedule)
    history = resume(training, checkpoints)
    loader = iter(make_loader(images, params, device, first_epoch=history.epochs))
    with progress_bar(schedule, history) as bar:
        for epoch in range(history.epochs + 1, params.epochs + 1):
            started = time.perf_counter()
            batches = islice(loader, schedule.batches_per_epoch)
            losses, lr = train_epoch(training, batches, epoch, checkpoints, bar)
            history.add_epoch(epoch, losses, lr, time.perf_counter() - started, schedule)
            bar.set_postfix(epoch=epoch, loss=f"{history.losses[-1]['loss']:.3f}")
            if epoch % params.validate_every == 0 or epoch == params.epochs:
                history.add_validation(epoch, validate(training.average.module.eval()))
            checkpoints.save_if_due(lambda: capture(training, history), epoch, is_last=epoch == params.epochs)
    return training.average.module, history


def resume(training: Training, checkpoints: Checkpoints) -> History:
    """Put the newest checkpoint's state into a training that was just set up; an empty history without one."""
    state = checkpoints.newest()
    if state is None:
        return History()
    restore(training, state)
    print(f"resuming after epoch {state['epoch']} of {training.params.epochs}")
    return History(**state["history"])


def train_epoch(
    training: Training,
    batches: Iterable[tuple[torch.Tensor, Targets]],
    epoch: int,
    checkpoints: Checkpoints,
    bar: tqdm,
) -> tuple[list[float], float]:
    """Take the steps of one epoch.

    Returns:
        The mean loss with its two parts, class and box, and the learning rate of the last step.
    """
    accumulate, losses, unchecked, lr = training.schedule.accumulate, [], [], 0.0
    step = (epoch - 1) * training.schedule.steps_per_epoch
    for batch, (images, targets) in enumerate(batches, start=1):
        losses.append(backward(training, images, targets))
        if batch % accumulate == 0:
            step += 1
            unchecked.append(torch.stack([torch.stack(losses[-accumulate:])[:, 0].sum(), clip_gradients(training)]))
            # Reading a value makes CUDA wait for all that is queued; no checkpoint is saved before the next check.
            if training.device.type == "cpu" or len(unchecked) == CHECK_EVERY:
                check_finite(unchecked, step, checkpoints)
                unchecked = []
            lr = take_step(training, step)
        bar.update(len(images))
    check_finite(unchecked, step, checkpoints)
    return torch.stack(losses).mean(0).tolist(), lr


def backward(training: Training, images: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Add one batch's gradients to those of the step; returns loss, class loss and box loss, [3] on the device."""
    device = training.device
    targets = {name: values.to(device, non_blocking=True) for name, values in targets.items()}
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        losses = training.bench(prepare_images(images, training.spec, device), targets)
    (losses["loss"] / training.schedule.accumulate).backward()
    box_loss = losses["box_loss"] * training.network.config.box_loss_weight
    return torch.stack([losses["loss"], losses["class_loss"], box_loss]).detach()


def clip_gradients(training: Training) -> torch.Tensor:
    """Scale the gradients of a step to at most `clip_norm`; returns their norm before, a scalar on the device."""
    return nn.utils.clip_grad_norm_(training.network.parameters(), training.params.clip_norm)


def take_step(training: Training, step: int) -> float:
    """Update the weights by clipped gradients, then their average; returns the learning rate of the heads."""
    optimizer = training.optimizer
    lr = optimizer.param_groups[-1]["lr"]
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    training.lr_schedule.step()
    training.average.update(training.network, step=step)
    return lr


def check_finite(unchecked: list[torch.Tensor], last_step: int, checkpoints: Checkpoints) -> None:
    """Stop at a loss or at gradients that are not finite.

    Args:
        unchecked: loss and norm of the gradients, [2], of the steps that were not checked yet; may be none.
        last_step: number of the last of these steps, counted from 1 over all epochs.
        checkpoints: of this training.

    Raises:
        UserError: names the first such step and the file with the last good weights.
    """
    rows = torch.stack(unchecked).tolist() if unchecked else []
    for step, (loss, norm) in enumerate(rows, start=last_step - len(rows) + 1):
        if not (math.isfinite(loss) and math.isfinite(norm)):
            what = f"the loss is {loss}" if not math.isfinite(loss) else f"the norm of the gradients is {norm}"
            newest = checkpoints.newest_path()
            kept = f"the last good weights are in {newest}" if newest else "no epoch was saved before"
            raise UserError(
                f"at step {step} {what}; {kept}; lower train.lr or train.clip_norm, or increase train.warmup_epochs"
            )


def progress_bar(schedule: Schedule, history: History) -> tqdm:
    """Show the images of all epochs, those of epochs before a resume included."""
    return tqdm(total=schedule.images, initial=history.images, unit="img", desc="train", mininterval=2)
