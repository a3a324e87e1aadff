"""Whole trainings within a benchmark, on rendered images, and what the trained network detects."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from viadet.annotations.coco import category_names
from viadet.augmentation.training_set import TrainingSet
from viadet.detection.detector import Detector, detect_plain
from viadet.detection.settings import DetectSettings
from viadet.evaluation.coco_metrics import CocoMetrics, evaluate_coco
from viadet.network.build import build_network, make_spec
from viadet.network.device import train_device
from viadet.network.weights import load_start, start_normalisation
from viadet.project.files import write_json
from viadet.project.params import Recipe
from viadet.sources.weights import fetch_initial_weights
from viadet.training.checkpoint import Checkpoints
from viadet.training.trainer import Trainer


class Split(NamedTuple):
    """Images with their ground truth."""

    folder: Path
    coco: dict

    def part(self, image_ids: list[int]) -> "Split":
        """Give some of the images."""
        chosen = set(image_ids)
        images = [image for image in self.coco["images"] if image["id"] in chosen]
        annotations = [entry for entry in self.coco["annotations"] if entry["image_id"] in chosen]
        return Split(self.folder, self.coco | {"images": images, "annotations": annotations})


class Trained(NamedTuple):
    """What a training gave."""

    detector: Detector
    metrics: CocoMetrics  # on the validation images


def fetch_start(work_dir: Path, recipe: Recipe) -> None:
    """Put the weights that trainings start from into an empty folder, in which they will work."""
    (work_dir / "init").mkdir()
    (work_dir / "data").mkdir()  # for decoded images
    fetch_initial_weights(recipe.model.init, recipe.model.name, work_dir / "init")


def train_detector(
    work_dir: Path, train: Split, val: Split, recipe: Recipe, change: Callable[[TrainingSet], None] = lambda _: None
) -> Trained:
    """Train from the weights of `fetch_start` as the stage `train` does, and measure as often as the recipe says.

    Args:
        work_dir: absolute.
        train: to train on.
        val: to measure on.
        recipe: its sections `model`, `train` and `evaluate` count.
        change: something of the training set, before it is used.
    """
    device = train_device(recipe.train)
    categories = list(category_names(train.coco).values())
    spec = make_spec(recipe.model, categories, start_normalisation(work_dir / "init"))
    torch.manual_seed(recipe.train.seed)
    network = build_network(spec)
    load_start(network, work_dir / "init")
    write_json(work_dir / "train.json", train.coco)
    with contextlib.chdir(work_dir):
        images = TrainingSet(work_dir / "train.json", train.folder, recipe.train, spec.input_wh, spec.fill_rgb)
    change(images)
    settings, measured = DetectSettings.of_recipe(recipe), []

    def validate(average: torch.nn.Module) -> dict[str, float]:
        found = detect_plain(Detector(average, spec, settings), val.coco, val.folder)
        measured.append(evaluate_coco(val.coco, found))
        return measured[-1].stats

    checkpoints = Checkpoints(work_dir / "checkpoints", "0" * 64)
    trained = Trainer(network, spec, images, recipe.train, device, checkpoints).train(validate, lambda _: None)
    checkpoints.remove()
    return Trained(Detector(trained, spec, settings), measured[-1])
