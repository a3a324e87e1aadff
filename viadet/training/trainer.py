"""The training: its loop, its steps, and all that they change."""

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from viadet.augmentation.training_set import Targets, TrainingSet
from viadet.network.build import NetworkSpec, prepare_images
from viadet.network.device import pick_precision
from viadet.project.errors import UserError
from viadet.project.metric_names import AP
from viadet.project.params import TrainParams
from viadet.training.averaging import WeightAverage
from viadet.training.bench import compile_network, make_bench, set_input_size
from viadet.training.checkpoint import Checkpoints
from viadet.training.frozen import fold_batch_norms
from viadet.training.loader import make_loader
from viadet.training.optimiser import freeze, make_optimizer, make_schedule
from viadet.training.pace import Pace
from viadet.training.processes import ALONE, Group, check_shares, distribute
from viadet.training.step_graphs import StepGraphs

CHECK_EVERY = 20  # steps on CUDA


@dataclass
class History:
    """The epochs that are done."""

    losses: list[dict[str, float]] = field(default_factory=list)  # a row an epoch
    aps: list[dict[str, float]] = field(default_factory=list)  # a row a validation
    seconds: float = 0.0  # spent on training steps, without validation
    images: int = 0
    steps: int = 0

    @property
    def epochs(self) -> int:
        """Number of epochs that are done."""
        return len(self.losses)


class Trainer:
    """A network in training: it, the moving average of its weights, the optimizer, the schedule and the history.

    Of several processes, each trains on its share of the batches; only the first validates and writes.

    Args:
        network: with its starting weights; trained in place.
        spec: what the network is.
        images: to train on.
        params: the `train` section.
        device: to train on.
        checkpoints: of this training.
        group: of processes that train this network.
    """

    def __init__(
        self,
        network: nn.Module,
        spec: NetworkSpec,
        images: TrainingSet,
        params: TrainParams,
        device: torch.device,
        checkpoints: Checkpoints,
        group: Group = ALONE,
    ) -> None:
        """Move the network to the device, freeze parts of it, make average and optimizer.

        Raises:
            UserError: `train.compile` is set, but torch.compile does not work here; the processes can't share a batch.
        """
        self.network, self.spec, self.images, self.params, self.device = network, spec, images, params, device
        self.checkpoints, self.group, self.history = checkpoints, group, History()
        self.schedule = make_schedule(len(images), params)
        self.pace = Pace(self.schedule, images.input_wh_by_epoch(), device.type)
        self.bench = make_bench(network, params.box_loss).to(device).train()
        freeze(network, params)
        self.average = WeightAverage(network, params.ema_decay)
        fold_batch_norms(network.backbone)
        self.optimizer = make_optimizer(network, params)
        self.lr_schedule = LambdaLR(self.optimizer, self.schedule.learning_rate_factor)
        self.precision = pick_precision(params.precision, device)  # of convolutions and products
        # keeps gradients in the range of float16; without effect for other types
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        if self.scaler.is_enabled():  # it may skip the first step, which the schedule counts all the same
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
        # accumulated gradients, exchanged ones and those of a scaled loss would need a graph of another form
        captures = device.type == "cuda" and group.count == self.schedule.accumulate == 1
        captures = captures and not (params.compile or self.scaler.is_enabled())
        self.graphs = StepGraphs(self.add_gradients, network) if captures else None
        if params.compile:
            compile_network(network, device)
        if group.count > 1:
            check_shares(self.schedule.batch_size, group.count)
            self.bench = distribute(self.bench)

    def train(
        self, validate: Callable[[nn.Module], dict[str, float]], after_epoch: Callable[[History], None]
    ) -> nn.Module:
        """Train from the newest checkpoint on, and end as if the training had not been cut short.

        Args:
            validate: measures the averaged network, for the curve only; its figures go into the history.
            after_epoch: called with the history before the first epoch, then after each epoch and its validation.

        Returns:
            The network with the moving average of the weights, which is what detects.

        Raises:
            UserError: the loss or the gradients stop being finite; the last checkpoint stays.
        """
        self.resume()
        if self.group.is_first:
            after_epoch(self.history)
        batches = iter(make_loader(self.images, self.params, self.device, self.history.epochs, self.group))
        with self.progress_bar() as bar:
            for epoch in range(self.history.epochs + 1, self.params.epochs + 1):
                set_input_size(self.bench, self.spec, self.images.input_wh_in(epoch - 1))
                self.train_epoch(epoch, islice(batches, self.schedule.batches_per_epoch), bar)
                if self.group.is_first:
                    is_last = epoch == self.params.epochs
                    if epoch % self.params.validate_every == 0 or is_last:
                        self.add_validation(epoch, validate(self.average.module.eval()))
                    after_epoch(self.history)
                    self.checkpoints.save_if_due(self.state_dict, epoch, is_last)
        return self.average.module

    def train_epoch(self, epoch: int, batches: Iterable[tuple[torch.Tensor, Targets]], bar: tqdm) -> None:
        """Take the steps of one epoch, counted from 1, and add it to the history."""
        started = time.perf_counter()
        bar.set_description(f"epoch {epoch}/{self.params.epochs}")
        step, accumulate, lr = (epoch - 1) * self.schedule.steps_per_epoch, self.schedule.accumulate, 0.0
        losses, unchecked, batch_started = [], [], started
        for batch, (images, targets) in enumerate(batches, start=1):
            ends_step = batch % accumulate == 0
            losses.append(self.backward(images, targets, ends_step))
            if ends_step:
                step += 1
                norm = self.clip_gradients()
                unchecked.append(torch.stack([torch.stack(losses[-accumulate:])[:, 0].sum(), norm]))
                # Reading a value makes CUDA wait for all that is queued; no checkpoint is saved before the next check.
                if self.device.type == "cpu" or len(unchecked) == CHECK_EVERY:
                    self.check_finite(unchecked, step)
                    unchecked = []
                lr = self.optimizer.param_groups[-1]["lr"]
                self.take_step()
                self.average.update(step)
            bar.update(len(images) * self.group.count)
            ended = time.perf_counter()
            if line := self.pace.add(ended - batch_started, len(images) * self.group.count, epoch):
                tqdm.write(line)
            batch_started = ended
        self.check_finite(unchecked, step)
        self.add_epoch(epoch, torch.stack(losses).mean(0), lr, time.perf_counter() - started)
        self.show_loss(bar)

    def backward(self, images: torch.Tensor, targets: Targets, ends_step: bool) -> torch.Tensor:
        """Add one batch's gradients to those of the step; returns loss, class loss and box loss, [3] on the device.

        Several processes exchange gradients only in the batch that ends a step.
        """
        if self.graphs is not None:
            try:
                return self.graphs(images, targets)
            except RuntimeError as error:  # CUDA's, cuDNN's, or of an operation that can't be captured
                reason = " ".join(str(error).split())[:200]
                tqdm.write(f"each step is started kernel by kernel, as CUDA can't capture it ({reason})")
                self.graphs = None
        is_cuda, exchanges = self.device.type == "cuda", ends_step or self.group.count == 1
        targets = {name: values.to(self.device, non_blocking=is_cuda) for name, values in targets.items()}
        with contextlib.nullcontext() if exchanges else self.bench.no_sync():
            return self.add_gradients(images, targets)

    def add_gradients(self, images: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Add one batch's gradients to those that there are; targets are on the device. Returns as `backward`."""
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            losses = self.bench(prepare_images(images, self.spec, self.device), targets)
        self.scaler.scale(losses["loss"] / self.schedule.accumulate).backward()
        weighted_box_loss = losses["loss"] - losses["class_loss"]
        return torch.stack([losses["loss"], losses["class_loss"], weighted_box_loss]).detach()

    def clip_gradients(self) -> torch.Tensor:
        """Scale the gradients of a step to at most `clip_norm`.

        Returns:
            Their norm before, a scalar on the device. In float16 it is 0: the scaler skips a step whose gradients
            overflow.
        """
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.params.clip_norm)
        return torch.zeros_like(norm) if self.scaler.is_enabled() else norm

    def take_step(self) -> None:
        """Update the weights by the clipped gradients, and the learning rate."""
        self.scaler.step(self.optimizer)  # float16: not if gradients overflowed, which lowers the scale
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.lr_schedule.step()

    def check_finite(self, unchecked: list[torch.Tensor], last_step: int) -> None:
        """Stop at a loss or at gradients that are not finite, in any of several processes: all stop at the same step.

        Args:
            unchecked: loss and norm of the gradients, [2], of the steps that were not checked yet; may be none.
            last_step: number of the last of these steps, counted from 1 over all epochs.

        Raises:
            UserError: names the first such step and the file with the last good weights.
        """
        rows = self.group.mean(torch.stack(unchecked)).tolist() if unchecked else []
        for step, (loss, norm) in enumerate(rows, start=last_step - len(rows) + 1):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                what = f"the loss is {loss}" if not math.isfinite(loss) else f"the norm of the gradients is {norm}"
                newest = self.checkpoints.newest_path()
                kept = f"the last good weights are in {newest}" if newest else "no epoch was saved before"
                raise UserError(
                    f"at step {step} {what}; {kept}; lower train.lr or train.clip_norm, or increase train.warmup_epochs"
                )

    def add_epoch(self, epoch: int, losses: torch.Tensor, lr: float, seconds: float) -> None:
        """Add an epoch to the history: its mean losses [3], the heads' last learning rate, the seconds of its steps."""
        loss, class_loss, box_loss = self.group.mean(losses).tolist()
        row = {"epoch": epoch, "loss": loss, "class_loss": class_loss, "box_loss": box_loss, "lr": lr}
        self.history.losses.append(row)
        self.history.seconds += seconds
        self.history.images += self.schedule.images_per_epoch
        self.history.steps += self.schedule.steps_per_epoch

    def add_validation(self, epoch: int, stats: dict[str, float]) -> None:
        """Add the metrics of a validation to the history, and print the first of them."""
        self.history.aps.append({"epoch": epoch} | stats)
        tqdm.write(f"epoch {epoch}: loss {self.history.losses[-1]['loss']:.3f}, {AP} {stats[AP]:.3f}")

    def progress_bar(self) -> tqdm:
        """Show the images of all epochs, those before a resume included; only in the first of several processes.

        The time left follows from the mean rate so far, which counts validations too.
        """
        shown = {"unit": "img", "desc": "train", "mininterval": 2, "smoothing": 0, "disable": not self.group.is_first}
        bar = tqdm(total=self.schedule.images, initial=self.history.images, **shown)
        if self.history.losses:
            self.show_loss(bar)
        return bar

    def show_loss(self, bar: tqdm) -> None:
        """Show the loss of the newest epoch."""
        bar.set_postfix(loss=f"{self.history.losses[-1]['loss']:.3f}")

    def resume(self) -> None:
        """Continue from the newest checkpoint, if there is one.

        Only the first of several processes, perhaps on several machines, reads it.
        """
        state = self.group.from_first(self.checkpoints.newest)
        if state is not None:
            self.load_state_dict(state)
            print(f"resuming after epoch {state['epoch']} of {self.params.epochs}")

    def state_dict(self) -> dict[str, Any]:
        """Collect all that training continues from; samples need no state, as (seed, epoch, image) determine them."""
        is_cuda, is_mps = self.device.type == "cuda", self.device.type == "mps"
        return {
            "network": self.network.state_dict(),
            "state_dict_ema": self.average.module.state_dict(),  # under this name `model.init` takes it for weights
            "optimizer": self.optimizer.state_dict(),
            "lr_schedule": self.lr_schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.device) if is_cuda else None,
            "random_mps": torch.mps.get_rng_state() if is_mps else None,
            "history": asdict(self.history),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put the state of a checkpoint into a training that was just set up."""
        self.network.load_state_dict(state["network"])
        fold_batch_norms(self.network.backbone)
        self.average.module.load_state_dict(state["state_dict_ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.lr_schedule.load_state_dict(state["lr_schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.history = History(**state["history"])
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda" and state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"], self.device)
        if self.device.type == "mps" and state["random_mps"] is not None:
            torch.mps.set_rng_state(state["random_mps"])
