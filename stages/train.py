"""Train the EfficientDet; the last epoch's averaged weights are the result.

Reads   data/coco/{train,val}.json, data/raw/{train,val}/, data/init/
Writes  data/model/ (weights and what it takes to rebuild the network), metrics/train.json,
        plots/train/{loss,ap}.csv; data/checkpoint/ holds what interrupted trainings continue from, data/hashes.json
        what its inputs were, and metrics/timing.json what differs between two equal runs: no other stage reads these
Run     dvc repro train; on several machines see docs/machines.md
"""

from pathlib import Path

import torch
from torch import nn

from viadet.annotations.coco import category_names
from viadet.augmentation.training_set import TrainingSet
from viadet.detection.detector import Detector, detect_plain
from viadet.evaluation.coco_metrics import evaluate_coco
from viadet.network.build import build_network, make_spec
from viadet.network.device import describe_device, keep_freed_memory, pick_precision, train_device
from viadet.network.weights import WEIGHTS_NAME, load_start, save_network, start_normalisation
from viadet.project.errors import run_stage
from viadet.project.experiments import project_root
from viadet.project.files import read_json, replaced_dir, sha256_of, write_csv, write_json
from viadet.project.metric_names import AP, AP_50, AP_75
from viadet.project.params import read_recipe
from viadet.training.checkpoint import Checkpoints, training_key
from viadet.training.processes import join_group, told_once
from viadet.training.trainer import History, Trainer

COCO_DIR = Path("data/coco")
IMAGE_DIR = Path("data/raw")
INIT_DIR = Path("data/init")
MODEL_DIR = Path("data/model")
CHECKPOINT_DIR = Path("data/checkpoint")
PLOTS_DIR = Path("plots/train")
METRICS_PATH = Path("metrics/train.json")
TIMING_PATH = Path("metrics/timing.json")


def write_curves(history: History) -> None:
    """Write losses and validation AP by epoch; done after each, so that `dvc plots show` follows the training."""
    write_csv(PLOTS_DIR / "loss.csv", history.losses, ["epoch", "loss", "class_loss", "box_loss", "lr"])
    write_csv(PLOTS_DIR / "ap.csv", history.aps, ["epoch", AP, AP_50, AP_75])


def write_metrics(history: History, network: nn.Module) -> None:
    """Write the last epoch's losses and the counts of epochs, steps and weights."""
    losses = {name: round(history.losses[-1][name], 4) for name in ("loss", "class_loss", "box_loss")}
    weights = sum(parameter.numel() for parameter in network.parameters())
    write_json(METRICS_PATH, losses | {"epochs": history.epochs, "steps": history.steps, "weights": weights})


def write_timing(history: History, device: str, precision: str) -> None:
    """Write what differs between two equal runs."""
    digest = sha256_of(MODEL_DIR / WEIGHTS_NAME)  # says which training this was: after `dvc checkout` it may be another
    timing = {"device": device, "precision": precision, "torch": torch.__version__, "model_sha256": digest}
    timing |= {"images_per_second": round(history.images / history.seconds, 1), "seconds": round(history.seconds)}
    write_json(TIMING_PATH, timing)


@told_once()
def main() -> None:
    """Train, then write model, metrics and curves, in the first of several processes."""
    keep_freed_memory()
    recipe = read_recipe()
    params = recipe.train
    device = train_device(params)
    device_name = describe_device(device)  # with all threads, which several processes share
    precision = str(pick_precision(params.precision, device)).removeprefix("torch.")
    group = join_group(device)
    train_coco, val_coco = (read_json(COCO_DIR / f"{split}.json") for split in ("train", "val"))
    categories = list(category_names(train_coco).values())
    spec = make_spec(recipe.model, categories, start_normalisation(INIT_DIR))
    torch.manual_seed(params.seed)
    network = build_network(spec)
    width, height = spec.input_wh
    times = f"{group.count} x " if group.count > 1 else ""
    print(f"{spec.name} at {width} x {height} px on {times}{device}, {load_start(network, INIT_DIR)}")
    images = group.by_machine(  # whose processes share the decoded images; machines may share the folder
        lambda: TrainingSet(
            COCO_DIR / "train.json", IMAGE_DIR, params, spec.input_wh, spec.fill_rgb, owner=f"train_{group.rank}"
        )
    )
    if params.repeat_threshold is not None:
        print(images.describe_repeats())

    def validate(average: nn.Module) -> dict[str, float]:
        return evaluate_coco(val_coco, detect_plain(Detector(average, spec), val_coco, IMAGE_DIR)).stats

    settings = {"model": spec._asdict(), "train": params.model_dump(exclude={"device", "workers"})}
    settings |= {"device": group.from_first(lambda: device_name), "precision": precision}
    key = group.by_machine(lambda: training_key(settings, [COCO_DIR, IMAGE_DIR, INIT_DIR]))
    group.check_same_training(key)
    checkpoints = Checkpoints(project_root() / CHECKPOINT_DIR, key)
    for path in checkpoints.others():
        print(f"{path} is the checkpoint of another training, kept in case you return to it; delete it if not")
    trainer = Trainer(network, spec, images, params, device, checkpoints, group)
    trained = trainer.train(validate, write_curves)
    if not group.is_first:
        return
    with replaced_dir(MODEL_DIR) as folder:
        save_network(trained, spec, folder)
    write_metrics(trainer.history, trained)
    write_timing(trainer.history, f"{times}{device_name}", precision)
    checkpoints.remove()


if __name__ == "__main__":
    run_stage(main, __doc__)
