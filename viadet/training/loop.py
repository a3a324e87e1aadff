"""The training loop."""

import contextlib
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
from viadet.training.input_size import set_input_size
from viadet.training.loader import make_loader
from viadet.training.processes import ALONE, Group
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
    after_epoch: Callable[[History], None],
    group: Group = ALONE,
) -> tuple[nn.Module, History]:
    """Train the network in place and return the moving average of its weights, which is what detects.

    Args:
        network: with its starting weights.
        spec: what the network is.
        images: to train on.
        params: the `train` section.
        device: to train on.
        validate: measures the averaged network, for the curve only; its figures go into the history.
        checkpoints: of this training; it continues from the newest and ends as if it had not been cut short.
        after_epoch: called with the history before the first epoch, then after each epoch and its validation.
        group: of processes that train this network; only the first one validates, saves and calls `after_epoch`.

    Raises:
        UserError: the loss or the gradients stop being finite; the last checkpoint stays.
    """
    training = set_up(network, spec, params, device, make_schedule(len(images), params), group)
    history = resume(training, checkpoints)
    if group.is_first:
        after_epoch(history)
    loader = iter(make_loader(images, params, device, history.epochs, group))
    with progress_bar(training.schedule, history, group) as bar:
        for epoch in range(history.epochs + 1, params.epochs + 1):
            set_input_size(training.bench, spec, images.input_wh_in(epoch - 1))
            train_epoch(training, islice(loader, training.schedule.batches_per_epoch), epoch, history, checkpoints, bar)
            if group.is_first:
                end_epoch(training, epoch, history, validate, checkpoints, after_epoch)
    return training.average.module, history


def end_epoch(
    training: Training,
    epoch: int,
    history: History,
    validate: Callable[[nn.Module], dict[str, float]],
    checkpoints: Checkpoints,
    after_epoch: Callable[[History], None],
) -> None:
    """Validate if it is time, then save if it is due; arguments as for `train`."""
    is_last = epoch == training.params.epochs
    if epoch % training.params.validate_every == 0 or is_last:
        history.add_validation(epoch, validate(training.average.module.eval()))
    after_epoch(history)
    checkpoints.save_if_due(lambda: capture(training, history), epoch, is_last)


def resume(training: Training, checkpoints: Checkpoints) -> History:
    """Put the newest checkpoint's state into a training that was just set up; an empty history without one.

    Only the first of several processes, perhaps on several machines, reads checkpoints.
    """
    state = training.group.from_first(checkpoints.newest)
    if state is None:
        return History()
    restore(training, state)
    print(f"resuming after epoch {state['epoch']} of {training.params.epochs}")
    return History(**state["history"])


def train_epoch(
    training: Training,
    batches: Iterable[tuple[torch.Tensor, Targets]],
    epoch: int,
    history: History,
    checkpoints: Checkpoints,
    bar: tqdm,
) -> None:
    """Take the steps of one epoch and add it to the history."""
    started = time.perf_counter()
    bar.set_description(f"epoch {epoch}/{training.params.epochs}")
    accumulate, losses, unchecked, lr = training.schedule.accumulate, [], [], 0.0
    step = (epoch - 1) * training.schedule.steps_per_epoch
    for batch, (images, targets) in enumerate(batches, start=1):
        losses.append(backward(training, images, targets, ends_step=batch % accumulate == 0))
        if batch % accumulate == 0:
            step += 1
            unchecked.append(torch.stack([torch.stack(losses[-accumulate:])[:, 0].sum(), clip_gradients(training)]))
            # Reading a value makes CUDA wait for all that is queued; no checkpoint is saved before the next check.
            if training.device.type == "cpu" or len(unchecked) == CHECK_EVERY:
                check_finite(unchecked, step, checkpoints, training.group)
                unchecked = []
            lr = take_step(training, step)
        bar.update(len(images) * training.group.count)
    check_finite(unchecked, step, checkpoints, training.group)
    seconds = time.perf_counter() - started
    mean_losses = training.group.mean(torch.stack(losses).mean(0))
    history.add_epoch(epoch, mean_losses.tolist(), lr, seconds, training.schedule)
    show_loss(bar, history)


def backward(training: Training, images: torch.Tensor, targets: Targets, ends_step: bool) -> torch.Tensor:
    """Add one batch's gradients to those of the step; returns loss, class loss and box loss, [3] on the device.

    Several processes exchange gradients only in the batch that ends a step.
    """
    device, several = training.device, training.group.count > 1
    targets = {name: values.to(device, non_blocking=device.type == "cuda") for name, values in targets.items()}
    with contextlib.nullcontext() if ends_step or not several else training.bench.no_sync():
        with torch.autocast(device.type, training.precision, enabled=training.precision != torch.float32):
            losses = training.bench(prepare_images(images, training.spec, device), targets)
        training.scaler.scale(losses["loss"] / training.schedule.accumulate).backward()
    weighted_box_loss = losses["loss"] - losses["class_loss"]
    return torch.stack([losses["loss"], losses["class_loss"], weighted_box_loss]).detach()


def clip_gradients(training: Training) -> torch.Tensor:
    """Scale the gradients of a step to at most `clip_norm`.

    Returns:
        Their norm before, a scalar on the device. In float16 it is 0: the scaler skips a step whose gradients overflow.
    """
    training.scaler.unscale_(training.optimizer)
    norm = nn.utils.clip_grad_norm_(training.network.parameters(), training.params.clip_norm)
    return torch.zeros_like(norm) if training.scaler.is_enabled() else norm


def take_step(training: Training, step: int) -> float:
    """Update the weights by clipped gradients, then their average; returns the learning rate of the heads."""
    optimizer = training.optimizer
    lr = optimizer.param_groups[-1]["lr"]
    training.scaler.step(optimizer)  # float16: not if gradients overflowed, which lowers the scale
    training.scaler.update()
    optimizer.zero_grad(set_to_none=True)
    training.lr_schedule.step()
    training.average.update(training.network, step=step)
    return lr


def check_finite(unchecked: list[torch.Tensor], last_step: int, checkpoints: Checkpoints, group: Group = ALONE) -> None:
    """Stop at a loss or at gradients that are not finite, in any of several processes: all stop at the same step.

    Args:
        unchecked: loss and norm of the gradients, [2], of the steps that were not checked yet; may be none.
        last_step: number of the last of these steps, counted from 1 over all epochs.
        checkpoints: of this training.
        group: of processes that train this network.

    Raises:
        UserError: names the first such step and the file with the last good weights.
    """
    rows = group.mean(torch.stack(unchecked)).tolist() if unchecked else []
    for step, (loss, norm) in enumerate(rows, start=last_step - len(rows) + 1):
        if not (math.isfinite(loss) and math.isfinite(norm)):
            what = f"the loss is {loss}" if not math.isfinite(loss) else f"the norm of the gradients is {norm}"
            newest = checkpoints.newest_path()
            kept = f"the last good weights are in {newest}" if newest else "no epoch was saved before"
            raise UserError(
                f"at step {step} {what}; {kept}; lower train.lr or train.clip_norm, or increase train.warmup_epochs"
            )


def progress_bar(schedule: Schedule, history: History, group: Group) -> tqdm:
    """Show the images of all epochs, those of epochs before a resume included; only in the first of several processes.

    The time left follows from the mean rate so far, which counts validations too.
    """
    shown = {"unit": "img", "desc": "train", "mininterval": 2, "smoothing": 0, "disable": not group.is_first}
    bar = tqdm(total=schedule.images, initial=history.images, **shown)
    if history.losses:
        show_loss(bar, history)
    return bar


def show_loss(bar: tqdm, history: History) -> None:
    """Show the loss of the newest epoch."""
    bar.set_postfix(loss=f"{history.losses[-1]['loss']:.3f}")
