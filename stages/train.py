"""Train the EfficientDet; the last epoch's averaged weights are the result.

Reads   data/coco/{train,val}.json, data/raw/{train,val}/, data/init/
Writes  data/model/ (weights and what it takes to rebuild the network), metrics/train.json,
        plots/train/{loss,ap}.csv; data/checkpoint/ holds what a training that was cut short goes on from,
        and metrics/timing.json what differs between two equal runs: no stage reads either
Run     dvc repro train
"""

import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from effdet import DetBenchTrain
from timm.optim import param_groups_weight_decay
from timm.utils import ModelEmaV3
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from tqdm import tqdm

from stages.detection.checkpoint import newest_state, save_state, training_key
from stages.detection.cli import StageError, run_stage
from stages.detection.dataset import TrainingSet, collate, epoch_batches
from stages.detection.detect import detect_coco
from stages.detection.files import read_json, replaced_dir, write_csv, write_json
from stages.detection.network import (
    NetworkSpec,
    build_network,
    keep_freed_memory,
    load_start,
    make_spec,
    pick_device,
    prepare_images,
    save_network,
)
from stages.detection.params import TrainParams, read_recipe
from stages.detection.scoring import coco_stats, run_cocoeval

COCO_DIR = Path("data/coco")
RAW_DIR = Path("data/raw")
INIT_DIR = Path("data/init")
MODEL_DIR = Path("data/model")
CHECKPOINT_DIR = Path("data/checkpoint")
PLOTS_DIR = Path("plots/train")
METRICS_PATH = Path("metrics/train.json")
TIMING_PATH = Path("metrics/timing.json")
MOMENTUM = 0.9  # of SGD
MAX_WORKERS = 8
SAVING_SHARE = 20  # a checkpoint at the end of an epoch, if training has since taken so many times what saving takes


class Training(NamedTuple):
    """What changes from step to step."""

    network: nn.Module
    average: ModelEmaV3
    optimizer: Optimizer
    schedule: LambdaLR


class History(NamedTuple):
    """What training tells, a row an epoch."""

    losses: list[dict[str, float]]
    aps: list[dict[str, float]]
    steps: int
    seconds: float  # spent on training steps, without validation
    images: int


def freeze(network: nn.Module, params: TrainParams) -> None:
    """Keep early stages of the backbone, or its batch norms, as they start; call it after each `train()`.

    Raises:
        StageError: the backbone has fewer stages.
    """
    backbone = network.backbone
    blocks = getattr(backbone, "blocks", ())  # ResNets have none
    if params.frozen_stages > len(blocks):
        raise StageError(f"train.frozen_stages is {params.frozen_stages}, but the backbone has {len(blocks)} blocks")
    stem = [module for name, module in backbone.named_children() if name in ("conv_stem", "bn1")]
    frozen = [*stem, *blocks[: params.frozen_stages]] if params.frozen_stages else []
    if params.freeze_batch_norm:
        frozen += [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in frozen:
        module.eval().requires_grad_(False)


def make_optimizer(network: nn.Module, params: TrainParams) -> Optimizer:
    """AdamW or SGD; biases and batch norm don't decay, the backbone has a learning rate of its own."""
    groups = []
    for name, part in network.named_children():
        lr = params.lr * (params.backbone_lr if name == "backbone" else 1)
        groups += [group | {"lr": lr} for group in param_groups_weight_decay(part, params.weight_decay)]
    groups = [group for group in groups if group["params"]]
    if params.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=params.lr, momentum=MOMENTUM, nesterov=True)
    return torch.optim.AdamW(groups, lr=params.lr)


def learning_rate_factor(step: int, steps: int, warmup_steps: int) -> float:
    """Rise linearly to 1, then fall along a cosine to 0 (Loshchilov and Hutter 2017)."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))


def make_loader(images: TrainingSet, params: TrainParams, device: torch.device, first_epoch: int) -> DataLoader:
    """Serve the batches of all epochs from one on in one go, so that no worker starts anew between epochs."""
    batches = (
        batch
        for epoch in range(first_epoch, params.epochs)
        for batch in epoch_batches(len(images), params.batch_size, params.accumulate, epoch, params.seed)
    )
    workers = params.workers
    if workers == "auto":
        # On the CPU the network needs the cores; one worker is enough to have the next batch ready.
        workers = min(MAX_WORKERS, max(1, (os.cpu_count() or 1) - 1)) if device.type == "cuda" else 1
    return DataLoader(
        images,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        # forked workers share the images; others would get copies of them
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
    )


def train(
    network: nn.Module,
    spec: NetworkSpec,
    images: TrainingSet,
    val_coco: dict,
    params: TrainParams,
    device: torch.device,
    key: str,
) -> tuple[nn.Module, History]:
    """Train the network in place and return the moving average of its weights, which is what detects.

    A training that was cut short goes on from its newest checkpoint, and ends as if it had not been.

    Args:
        network: with its starting weights.
        spec: what the network is.
        images: to train on.
        val_coco: COCO annotations of the validation images.
        params: the schedule.
        device: to train on.
        key: names this training; checkpoints of another one are not taken.

    Raises:
        StageError: the loss stops being finite; the last checkpoint stays.
    """
    bench = DetBenchTrain(network).to(device).train()
    freeze(network, params)
    average = ModelEmaV3(network, decay=params.ema_decay, use_warmup=True)
    optimizer = make_optimizer(network, params)
    batch_size = min(params.batch_size, len(images))
    batches_per_epoch = len(epoch_batches(len(images), params.batch_size, params.accumulate, 0, params.seed))
    accumulate = min(params.accumulate, batches_per_epoch)
    steps_per_epoch = batches_per_epoch // accumulate
    steps = params.epochs * steps_per_epoch
    warmup_steps = min(steps, round(params.warmup_epochs * steps_per_epoch))
    schedule = LambdaLR(optimizer, lambda step: learning_rate_factor(step, steps, warmup_steps))
    box_weight = network.config.box_loss_weight

    training = Training(network, average, optimizer, schedule)
    first_epoch, history = 0, History([], [], steps, 0.0, 0)
    if state := newest_state(CHECKPOINT_DIR, key):
        restore(training, state, device)
        first_epoch, history = state["epoch"], History(**state["history"])
        print(f"going on after epoch {first_epoch} of {params.epochs}")
    loader = make_loader(images, params, device, first_epoch)
    epoch_losses, seconds, images_seen = [], history.seconds, history.images
    started = last_saved = time.perf_counter()
    saving = 0.0
    total = steps * accumulate * batch_size
    with tqdm(total=total, initial=images_seen, unit="img", desc="train", mininterval=2) as bar:
        for number, (batch, targets) in enumerate(loader, start=first_epoch * batches_per_epoch + 1):
            targets = {name: values.to(device, non_blocking=True) for name, values in targets.items()}
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                losses = bench(prepare_images(batch, spec, device), targets)
            (losses["loss"] / accumulate).backward()
            step = number // accumulate
            if number % accumulate == 0:
                nn.utils.clip_grad_norm_(network.parameters(), params.clip_norm)
                lr = optimizer.param_groups[-1]["lr"]  # the heads'
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                schedule.step()
                average.update(network, step=step)
            parts = [losses["loss"], losses["class_loss"], losses["box_loss"] * box_weight]
            epoch_losses.append(torch.stack(parts).detach())
            # The step before this one: reading the newest would make the GPU wait for the CPU.
            check_finite(epoch_losses[-2:-1], number - 1)
            images_seen += len(batch)
            bar.update(len(batch))
            if number % batches_per_epoch:
                continue

            epoch = step // steps_per_epoch
            check_finite(epoch_losses[-1:], number)
            loss, class_loss, box_loss = torch.stack(epoch_losses).mean(0).tolist()
            epoch_losses = []
            seconds += time.perf_counter() - started
            bar.set_postfix(epoch=epoch, loss=f"{loss:.3f}")
            history.losses.append(
                {"epoch": epoch, "loss": loss, "class_loss": class_loss, "box_loss": box_loss, "lr": lr}
            )
            if epoch % params.validate_every == 0 or epoch == params.epochs:
                stats = validate(average.module, spec, val_coco, device)
                history.aps.append({"epoch": epoch} | stats)
                tqdm.write(f"epoch {epoch}: loss {loss:.3f}, bbox_mAP {stats['bbox_mAP']:.3f}")
            history = history._replace(seconds=seconds, images=images_seen)
            now = time.perf_counter()
            if now - last_saved >= SAVING_SHARE * saving or epoch == params.epochs:
                save_state(CHECKPOINT_DIR, state_of(training, device) | {"history": history._asdict()}, epoch, key)
                last_saved = time.perf_counter()
                saving = last_saved - now
            started = time.perf_counter()
    return average.module, history


def state_of(training: Training, device: torch.device) -> dict[str, Any]:
    """Collect all that training goes on from, beside the data, which (seed, epoch, image) give."""
    return {
        "network": training.network.state_dict(),
        "state_dict_ema": training.average.module.state_dict(),  # under this name `model.init` takes it for weights
        "optimizer": training.optimizer.state_dict(),
        "schedule": training.schedule.state_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def restore(training: Training, state: dict[str, Any], device: torch.device) -> None:
    """Put a state back into a training that has just been set up."""
    training.network.load_state_dict(state["network"])
    training.average.module.load_state_dict(state["state_dict_ema"])
    training.optimizer.load_state_dict(state["optimizer"])
    training.schedule.load_state_dict(state["schedule"])
    torch.set_rng_state(state["random"])
    if device.type == "cuda" and state["random_cuda"] is not None:
        torch.cuda.set_rng_state(state["random_cuda"], device)


def check_finite(losses: list[torch.Tensor], batch: int) -> None:
    """Stop at a loss that is no number.

    Raises:
        StageError: names the batch, counted from 1 over all epochs, and where the last good weights are.
    """
    if losses and not torch.isfinite(losses[0]).all():
        newest = max(CHECKPOINT_DIR.glob("epoch_*.pt"), default=None)
        kept = f"the last good weights are in {newest}" if newest else "no epoch was finished"
        raise StageError(
            f"the loss of batch {batch} is {float(losses[0][0])}; {kept}; lower train.lr or train.clip_norm, "
            "or lengthen train.warmup_epochs"
        )


def validate(network: nn.Module, spec: NetworkSpec, val_coco: dict, device: torch.device) -> dict[str, float]:
    """AP on the validation images, for the curve only: nothing is chosen by it."""
    results = detect_coco(network.eval(), spec, val_coco, RAW_DIR, device)
    return coco_stats(run_cocoeval(val_coco, results))


def main() -> None:
    """Read params and data, train, write model, metrics and curves."""
    keep_freed_memory()
    recipe = read_recipe()
    params = recipe.train
    device = pick_device(params.device, params.deterministic)
    spec = make_spec(recipe.model, recipe.convert.categories)
    torch.manual_seed(params.seed)
    network = build_network(spec)
    width, height = spec.input_wh
    print(f"{spec.name} at {width} x {height} px on {device}, {load_start(network, INIT_DIR)}")
    images = TrainingSet(COCO_DIR / "train.json", RAW_DIR, params, spec.input_wh, spec.fill_rgb)
    settings = {"model": spec._asdict(), "train": params.model_dump(exclude={"device", "workers"})}
    key = training_key(settings, [COCO_DIR, RAW_DIR, INIT_DIR])
    trained, history = train(network, spec, images, read_json(COCO_DIR / "val.json"), params, device, key)

    with replaced_dir(MODEL_DIR) as folder:
        save_network(trained, spec, folder)
    last = history.losses[-1]
    write_json(
        METRICS_PATH,
        {name: round(last[name], 4) for name in ("loss", "class_loss", "box_loss")}
        | {
            "epochs": params.epochs,
            "steps": history.steps,
            "weights": sum(p.numel() for p in trained.parameters()),
        },
    )
    write_csv(PLOTS_DIR / "loss.csv", history.losses, ["epoch", "loss", "class_loss", "box_loss", "lr"])
    write_csv(PLOTS_DIR / "ap.csv", history.aps, ["epoch", "bbox_mAP", "bbox_mAP_50", "bbox_mAP_75"])
    write_json(
        TIMING_PATH,
        {
            "device": torch.cuda.get_device_name()
            if device.type == "cuda"
            else f"cpu, {torch.get_num_threads()} threads",
            "images_per_second": round(history.images / history.seconds, 1),
            "seconds": round(history.seconds),
            "torch": torch.__version__,
        },
    )
    shutil.rmtree(CHECKPOINT_DIR)


if __name__ == "__main__":
    run_stage(main, __doc__)
