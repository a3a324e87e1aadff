"""What helps classes with few objects: AP by class of rendered balloons, 100 plain, 10 striped and 3 dotted ones.

Networks are trained on the same images in three ways: with cut-outs that are all chosen alike (as before), by the
inverse square root of their class's number (as now), and with `train.repeat_threshold` as well. They are measured on
images with as many objects of each class.

    python -m benchmarks.rare_classes [--tiny]

Writes docs/rare_classes.csv, after each training, and prints the table of docs/rare_classes.md
"""

import argparse
import tempfile
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from benchmarks.project import ROOT, seeded_recipe
from benchmarks.scenes import render_classes
from benchmarks.small_trainings import AnnotatedImages, fetch_start, train_detector
from benchmarks.tables import markdown
from viadet.augmentation.training_set import TrainingSet
from viadet.commands.repeat import mean_difference
from viadet.evaluation.curves import class_rows
from viadet.network.device import keep_freed_memory
from viadet.project.files import write_csv
from viadet.project.params import Recipe

FREQUENT, RARE = "plain", ("striped", "dotted")
AP_COLUMNS = [FREQUENT, *RARE, "rare"]  # AP by class, and the mean of the rare ones
COLUMNS = ["way", "seed", *AP_COLUMNS]
UNIFORM, BY_ROOT, REPEATED = "cut-outs alike", "cut-outs by root", "and repeated images"
WAYS = (UNIFORM, BY_ROOT, REPEATED)


class Experiment(NamedTuple):
    """How much is rendered and trained."""

    train: dict[str, int]  # objects by class
    val: dict[str, int]
    seeds: int
    repeat_threshold: float
    params: dict  # changed in params.yaml's recipe `own`, by section


FULL = Experiment(
    train={"plain": 100, "striped": 10, "dotted": 3},
    val={"plain": 60, "striped": 60, "dotted": 60},
    seeds=3,
    repeat_threshold=0.5,
    params={
        "model": {"name": "tf_efficientdet_lite0", "image_size": 256, "test_size": 384},
        "train": {"epochs": 80, "device": "cpu", "threads": 1, "workers": 0},
    },
)
TINY = Experiment(
    train={"plain": 8, "striped": 2, "dotted": 1},
    val={"plain": 4, "striped": 2, "dotted": 2},
    seeds=2,
    repeat_threshold=0.5,
    params={
        "model": {"name": "tf_efficientdet_lite0", "image_size": 128, "test_size": None},
        "train": {"epochs": 6, "warmup_epochs": 0, "device": "cpu", "threads": 1, "workers": 0},
    },
)


def choose_alike(images: TrainingSet) -> None:
    """Make all cut-outs equally likely, as if they were of a single class."""
    images.cut_outs.classes = [list(range(len(images.cut_outs)))]


def render(folder: Path, counts: dict[str, int], seed: tuple[int, ...], recipe: Recipe) -> AnnotatedImages:
    """Render a split."""
    folder.mkdir()
    return AnnotatedImages(folder, render_classes(folder, counts, recipe.model.input_wh[0], seed))


def run_seed(work_dir: Path, experiment: Experiment, recipe: Recipe, rows: list[dict], out: Path) -> None:
    """Train in all ways on the same images from the same weights, adding a row to the CSV file after each."""
    seed = recipe.train.seed
    train = render(work_dir / "train", experiment.train, (seed, 0), recipe)
    val = render(work_dir / "val", experiment.val, (seed, 1), recipe)
    for way in WAYS:
        threshold = experiment.repeat_threshold if way == REPEATED else None
        params = recipe.train.model_copy(update={"repeat_threshold": threshold})
        change = {"change": choose_alike} if way == UNIFORM else {}
        trained = train_detector(work_dir, train, val, recipe.model_copy(update={"train": params}), **change)
        aps = {row["class"]: row["AP"] for row in class_rows(val.coco, trained.metrics, 0.0)}
        aps["rare"] = round(mean(aps[name] for name in RARE), 4)
        rows.append({"way": way, "seed": seed} | {name: aps[name] for name in AP_COLUMNS})
        write_csv(out / "rare_classes.csv", rows, COLUMNS)
        print(rows[-1], flush=True)


def difference(rows: list[dict], way: str, column: str) -> str:
    """Give the mean difference from the first way in pairs of a seed, with its standard error if there are several."""
    first, own = ({row["seed"]: row for row in rows if row["way"] == name} for name in (UNIFORM, way))
    return mean_difference([(row, first[seed]) for seed, row in own.items()], column)


def render_table(rows: list[dict], experiment: Experiment) -> str:
    """Give the means over seeds and the differences in Markdown."""
    counts = [f"{name} ({experiment.train[name]})" for name in (FREQUENT, *RARE)]
    heads = ["AP, mean over seeds", *counts, "mean of the rare", "difference", f"difference, {FREQUENT}"]
    lines = [heads]
    for way in WAYS:
        own = [row for row in rows if row["way"] == way]
        cells = [f"{mean(row[column] for row in own):.3f}" for column in AP_COLUMNS]
        cells += [] if way == UNIFORM else [difference(rows, way, column) for column in ("rare", FREQUENT)]
        lines.append([way, *cells])
    return markdown(lines)


def main(experiment: Experiment, out: Path) -> None:
    """Run all seeds, then print the table."""
    keep_freed_memory()
    rows: list[dict] = []
    for seed in range(experiment.seeds):
        recipe = seeded_recipe("own", experiment.params, seed)
        with tempfile.TemporaryDirectory() as folder:
            fetch_start(Path(folder), recipe)
            run_seed(Path(folder), experiment, recipe, rows, out)
    print(render_table(rows, experiment))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a minute, only to see that it runs; writes here")
    arguments = parser.parse_args()
    main(*((TINY, Path()) if arguments.tiny else (FULL, ROOT / "docs")))
