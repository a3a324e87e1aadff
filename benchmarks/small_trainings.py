"""Short trainings in a benchmark's own folder, by a recipe, measured on other rendered images."""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Self

import torch

from viadet.annotations.coco import category_names
from viadet.augmentation.training_set import TrainingSet
from viadet.detection.detector import Detector, detect_plain
from viadet.detection.settings import DetectSettings
from viadet.evaluation.coco_metrics import CocoMetrics, evaluate_coco
from viadet.network.build import build_network, make_spec
from viadet.network.device import train_device
from viadet.network.weights import load_start, start_normalisation
from viadet.project.files import replaced_dir, write_json
from viadet.project.params import Recipe
from viadet.sources.weights import fetch_initial_weights
from viadet.training.checkpoint import Checkpoints
from viadet.training.trainer import Trainer


class AnnotatedImages(NamedTuple):
    """Images and their ground truth."""

    folder: Path  # absolute
    coco: dict

    def of(self, image_ids: Iterable[int]) -> Self:
        """Choose some of the images."""
        chosen = set(image_ids)
        images = [image for image in self.coco["images"] if image["id"] in chosen]
        annotations = [entry for entry in self.coco["annotations"] if entry["image_id"] in chosen]
        return self._replace(coco=self.coco | {"images": images, "annotations": annotations})


class Trained(NamedTuple):
    """What a training gave."""

    detector: Detector
    metrics: CocoMetrics  # on the validation images, in plain images


def fetch_start(work_dir: Path, recipe: Recipe) -> None:
    """Fetch the weights that all trainings in a folder start from, if they are not there."""
    folder = work_dir / "init"
    if not folder.exists():
        with replaced_dir(folder) as new:
            fetch_initial_weights(recipe.model.init, recipe.model.name, new)


def train_detector(
    work_dir: Path,
    images: AnnotatedImages,
    val: AnnotatedImages,
    recipe: Recipe,
    key: str = "0" * 64,
    change: Callable[[TrainingSet], None] = lambda _: None,
) -> Trained:
    """Train as the stage `train` does, in a folder where `fetch_start` has been, and measure AP at the end.

    Args:
        work_dir: absolute; no other process may train in it.
        images: to train on.
        val: to measure AP on.
        recipe: its sections `model`, `train` and `evaluate`.
        key: of the training: one that was cut short goes on from the checkpoint with the same key.
        change: something of the training set, before it is used.
    """
    device = train_device(recipe.train)
    spec = make_spec(recipe.model, list(category_names(images.coco).values()), start_normalisation(work_dir / "init"))
    settings = DetectSettings.of_recipe(recipe, images.coco)
    torch.manual_seed(recipe.train.seed)
    network = build_network(spec)
    load_start(network, work_dir / "init")
    write_json(work_dir / "train.json", images.coco)
    (work_dir / "data").mkdir(exist_ok=True)
    with contextlib.chdir(work_dir):  # where the decoded images are stored
        training_set = TrainingSet(work_dir / "train.json", images.folder, recipe.train, spec.input_wh, spec.fill_rgb)

    change(training_set)
    measured = []

    def validate(average: torch.nn.Module) -> dict[str, float]:
        found = detect_plain(Detector(average, spec, settings), val.coco, val.folder)
        measured.append(evaluate_coco(val.coco, found))
        return measured[-1].stats

    checkpoints = Checkpoints(work_dir / "checkpoints", key)
    trainer = Trainer(network, spec, training_set, recipe.train, device, checkpoints)
    average = trainer.train(validate, lambda _: None)
    if not measured:  # cut short after the last epoch, it had nothing left to do
        validate(average)
    checkpoints.remove()
    return Trained(Detector(average, spec, settings), measured[-1])
