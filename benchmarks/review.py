"""What `viadet review` finds of known errors, and what correcting them brings: rendered balloons in two classes.

Of the boxes, 10 % are dropped, 5 % shifted by a fifth of their size, and 5 % are in the wrong class.

The review: three networks, each trained without the images of its fold, judge these. Of the first n suspects of a kind,
n being the number of errors of that kind, those that are such errors are counted. This is done by the library functions
that the command calls, without DVC.

The corrections: a network is trained anew on the training images of the first fold, after the first 20, 50 and all of
their suspects were corrected, and another one after as many images as these suspects are in, chosen at random, were
corrected. A suspect that points at an error has that error corrected and no other one in its image; of an image chosen
at random, all errors are corrected. AP is that on other images, without errors.

    python -m benchmarks.review [--seed N] [--work FOLDER] [--tiny]

Finished trainings are kept in --work, and one that was cut short goes on from its checkpoint; delete that folder after
a change to the code that trains. Seeds can run side by side, each with --seed; then the command without it only gathers
what they found. It prints the tables of docs/review.md and writes docs/review_gain.csv and docs/review_gain.png.
"""

import argparse
import hashlib
import json
import random
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.label_errors import SUSPECT_KINDS, Judged, LabelError, choose_errors, judge_suspects, with_errors
from benchmarks.project import ROOT, seeded_recipe
from benchmarks.review_tables import ALL_ERRORS, COLUMNS, NOTHING, RANDOM, SUSPECTS, gain_table, plot, precision_table
from benchmarks.small_trainings import AnnotatedImages, fetch_start, train_detector
from benchmarks.two_classes import ATTRIBUTE, CLASSES, Scene, annotate, render_scenes
from viadet.annotations.coco import by_image
from viadet.annotations.convert import DataSet
from viadet.annotations.splits import split_by_fold
from viadet.detection.detections import Detections
from viadet.detection.detector import detect_plain
from viadet.network.device import keep_freed_memory
from viadet.project.files import read_json, write_csv, write_json
from viadet.project.metric_names import AP
from viadet.project.params import Recipe
from viadet.review.suspects import find_suspects

LEAST_SCORE = 0.2  # of the suspects that are corrected, as the command's --least
WORK_DIR = ROOT / "data/review_benchmark"


class Experiment(NamedTuple):
    """How much is rendered and trained."""

    images: int
    validation: int  # other images, without errors
    seeds: int
    folds: int
    steps: list[int]  # suspects that are corrected; at last all are
    fold_epochs: int  # of the networks that review
    gain_epochs: int  # of those after corrections
    params: dict[str, dict[str, Any]]  # changed in params.yaml's recipe `sample`, by section

    def recipe(self, seed: int, epochs: int) -> Recipe:
        """Give the recipe of a training, which is validated once, at its end."""
        return seeded_recipe("sample", self.params, seed, epochs=epochs)


CONVERT = {"categories": list(CLASSES), "attribute": ATTRIBUTE}
# one thread: seeds run side by side, and give the same bytes on any number of cores
FULL_PARAMS = {"convert": CONVERT, "train": {"threads": 1, "workers": 0}}
FULL = Experiment(160, 120, 3, 3, [20, 50], 40, 14, FULL_PARAMS)
TINY_PARAMS = {
    "convert": CONVERT,
    "model": {"image_size": 128, "test_size": None},
    "train": {"warmup_epochs": 0, "device": "cpu", "threads": 1, "workers": 0},
}
TINY = Experiment(8, 2, 1, 2, [1], 1, 1, TINY_PARAMS)


class Rendered(NamedTuple):
    """The images of a seed."""

    work_dir: Path  # absolute
    scenes: list[Scene]  # in truth
    errors: list[LabelError]  # in their annotations
    val: AnnotatedImages

    def annotated(self, errors: Iterable[LabelError], recipe: Recipe) -> tuple[DataSet, AnnotatedImages]:
        """Annotate the scenes with some of the errors."""
        return annotate(self.work_dir / "images", with_errors(self.scenes, errors), recipe)


class Fold(NamedTuple):
    """The images of a fold."""

    training: AnnotatedImages
    left_out: AnnotatedImages


class Correction(NamedTuple):
    """What is corrected before a training."""

    corrected: str  # by suspects, images at random, or an end
    step: str  # which suspects
    suspects: int
    images: int  # that somebody looks at
    left: list[LabelError]


class SeedResult(NamedTuple):
    """What was measured with one seed."""

    seed: int
    found: dict[str, tuple[int, int]]  # by kind of error: the true ones among the first n suspects, and n
    gains: list[dict[str, Any]]  # rows of COLUMNS


def run_seed(work_dir: Path, experiment: Experiment, seed: int) -> SeedResult:
    """Render, review and correct; `work_dir` is absolute."""
    rendered = render(work_dir, experiment, seed)
    judged = review(rendered, experiment, seed)
    return SeedResult(seed, count_found(judged, rendered.errors), measure_gains(rendered, judged, experiment, seed))


def render(work_dir: Path, experiment: Experiment, seed: int) -> Rendered:
    """Render the images of a seed, and choose the errors in their annotations."""
    recipe = experiment.recipe(seed, experiment.fold_epochs)
    size = recipe.model.input_wh[0]
    generator = np.random.default_rng(1000 + seed)
    scenes = render_scenes(work_dir / "images", experiment.images, size, (seed, 7), generator)
    errors = choose_errors(scenes, generator)
    generator = np.random.default_rng(2000 + seed)
    val_scenes = render_scenes(work_dir / "val", experiment.validation, size, (seed, 8), generator)
    _, val = annotate(work_dir / "val", val_scenes, recipe)
    return Rendered(work_dir, scenes, errors, val)


def fold_of(data_set: DataSet, images: AnnotatedImages, folds: int, fold: int) -> Fold:
    """Divide the images as `convert` does for a fold."""
    left_out = split_by_fold({"train": data_set.images, "val": []}, folds, fold)["val"]
    names = {image.file_name for image in left_out}
    is_left_out = {image["id"]: image["file_name"] in names for image in images.coco["images"]}
    training, others = ([key for key in is_left_out if is_left_out[key] == side] for side in (False, True))
    return Fold(images.of(training), images.of(others))


def train_once(work_dir: Path, fold: Fold, val: AnnotatedImages, recipe: Recipe) -> tuple[float, dict[int, Detections]]:
    """Train, or read what the same training gave before.

    Returns:
        AP on the validation images, and the detections in the images left out by image id, rounded as in files.
    """
    fetch_start(work_dir, recipe)
    train = recipe.train.model_dump(exclude={"device", "workers"})
    parts = {"model": recipe.model.model_dump(), "train": train, "images": fold.training.coco, "val": val.coco}
    parts |= {"left_out": [image["file_name"] for image in fold.left_out.coco["images"]]}
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    path = work_dir / "trainings" / f"{key[:12]}.json"
    if not path.exists():
        trained = train_detector(work_dir, fold.training, val, recipe, key)
        found = detect_plain(trained.detector, fold.left_out.coco, fold.left_out.folder)
        rows = [row for image_id, detections in found.items() for row in detections.coco_rows(image_id)]
        write_json(path, {AP: trained.metrics.stats[AP], "detections": rows})
    kept = read_json(path)
    by_id = by_image(kept["detections"])
    return kept[AP], {image["id"]: Detections.from_rows(by_id[image["id"]]) for image in fold.left_out.coco["images"]}


def review(rendered: Rendered, experiment: Experiment, seed: int) -> list[Judged]:
    """Train a network for each fold, find the suspects, and tell which are errors."""
    recipe = experiment.recipe(seed, experiment.fold_epochs)
    data_set, images = rendered.annotated(rendered.errors, recipe)
    detections = {}
    for number in range(experiment.folds):
        fold = fold_of(data_set, images, experiment.folds, number)
        ap, found = train_once(rendered.work_dir, fold, rendered.val, recipe)
        print(f"seed {seed}, fold {number}: {AP} {ap:.4f}", flush=True)
        detections |= found
    return judge_suspects(find_suspects(images.coco, detections), data_set, rendered.scenes, rendered.errors)


def count_found(judged: Sequence[Judged], errors: Sequence[LabelError]) -> dict[str, tuple[int, int]]:
    """Count the true ones among the first n suspects of each kind, beside n, the errors; by kind of error."""
    counts = {}
    for kind, suspect_kind in SUSPECT_KINDS.items():
        n = sum(error.kind == kind for error in errors)
        first = [one for one in judged if one.suspect.kind == suspect_kind][:n]
        counts[kind] = (sum(one.finds(kind) for one in first), n)
    return counts


def plan_corrections(
    judged: Sequence[Judged], errors: Sequence[LabelError], images: Sequence[int], steps: Sequence[int], seed: int
) -> list[Correction]:
    """Plan what is corrected before each training.

    Args:
        judged: the suspects of a review, the worst first.
        errors: in the annotations.
        images: numbers of the scenes that are trained on; only their suspects and errors count.
        steps: how many of the suspects are corrected first; at last all are.
        seed: of the images chosen at random; with more suspects, more are added to those chosen before.
    """
    suspects = [one for one in judged if one.image in images and one.suspect.score >= LEAST_SCORE]
    errors = [error for error in errors if error.image in images]
    order = random.Random(seed).sample(images, len(images))
    plan = [Correction(NOTHING, "", 0, 0, errors)]
    for step, count in [*((f"first {step}", step) for step in steps), ("all", len(suspects))]:
        first = suspects[:count]
        corrected = {one.error for one in first}
        looked_at = order[: len({one.image for one in first})]
        left = [error for error in errors if error not in corrected]
        left_at_random = [error for error in errors if error.image not in looked_at]
        plan.append(Correction(SUSPECTS, step, len(first), len(looked_at), left))
        plan.append(Correction(RANDOM, step, len(first), len(looked_at), left_at_random))
    return [*plan, Correction(ALL_ERRORS, "", 0, len(images), [])]


def measure_gains(
    rendered: Rendered, judged: Sequence[Judged], experiment: Experiment, seed: int
) -> list[dict[str, Any]]:
    """Train on the first fold's training images after each correction; gives rows of COLUMNS."""
    recipe = experiment.recipe(seed, experiment.gain_epochs)
    fold = fold_of(*rendered.annotated(rendered.errors, recipe), experiment.folds, 0)
    images = [image["id"] - 1 for image in fold.training.coco["images"]]
    elsewhere = [error for error in rendered.errors if error.image not in images]
    rows = []
    for plan in plan_corrections(judged, rendered.errors, images, experiment.steps, seed):
        fold = fold_of(*rendered.annotated([*plan.left, *elsewhere], recipe), experiment.folds, 0)
        ap, _ = train_once(rendered.work_dir, fold, rendered.val, recipe)
        values = (plan.corrected, plan.step, seed, plan.suspects, plan.images, len(plan.left), ap)
        rows.append(dict(zip(COLUMNS, values, strict=True)))
        print(rows[-1], flush=True)
    return rows


def main(experiment: Experiment, work_dir: Path, out: Path, seed: int | None = None) -> None:
    """Run one seed, or all of them and write what they gave; prints the tables."""
    keep_freed_memory()
    seeds = range(experiment.seeds) if seed is None else [seed]
    results = [run_seed(work_dir.resolve() / f"seed_{seed}", experiment, seed) for seed in seeds]
    rows = [row for result in results for row in result.gains]
    print(f"\n{precision_table({result.seed: result.found for result in results})}\n\n{gain_table(rows)}")
    if seed is None:
        write_csv(out / "review_gain.csv", rows, COLUMNS)
        plot(rows, out / "review_gain.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, choices=range(FULL.seeds), help="only this one, and write nothing to docs")
    parser.add_argument("--work", type=Path, default=WORK_DIR, metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--tiny", action="store_true", help="a minute, only to see that it runs; writes here")
    arguments = parser.parse_args()
    if arguments.tiny:
        with tempfile.TemporaryDirectory() as folder:
            main(TINY, Path(folder), Path())
    else:
        main(FULL, arguments.work, ROOT / "docs", arguments.seed)
