"""How many epochs few images need: AP of the recipe `own`, trained on 24 and on 96 images with inputs of 256 px.

The images are rendered balloons in two classes, measured on 48 others; or photographs, of which the first 24 are
trained on and the others measured. Each seed is trained with several numbers of epochs, on the same images.

    python -m benchmarks.few_images [--images FOLDER COCO] [--train NUMBER] [--tiny]

Adds rows to docs/few_images.csv, after each training, and prints the table of docs/accuracy.md
"""

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.images import add_image_option
from benchmarks.project import ROOT, seeded_recipe
from benchmarks.small_trainings import AnnotatedImages, fetch_start, train_detector
from benchmarks.tables import markdown, read_rows
from benchmarks.two_classes import annotate, render_scenes
from viadet.commands.repeat import mean_and_deviation, mean_difference
from viadet.network.device import keep_freed_memory
from viadet.project.files import read_json, write_csv
from viadet.project.metric_names import AP, AP_50, AP_75
from viadet.project.params import Recipe

CSV_NAME = "few_images.csv"
RENDERED, PHOTOGRAPHS = "rendered balloons", "photographs"
KEYS, APS = ["images", "number", "epochs", "seed"], [AP, AP_50, AP_75]


class Experiment(NamedTuple):
    """How much is rendered and trained."""

    epochs: dict[int, list[int]]  # by number of training images; other trainings are compared with the first
    val: int  # rendered images; of photographs, all others
    seeds: int
    params: dict  # changed in params.yaml's recipe `own`, by section

    def recipe(self, seed: int = 0, epochs: int = 1) -> Recipe:
        """Give the recipe of a training, which is validated once, at its end."""
        return seeded_recipe("own", self.params, seed, epochs=epochs)


FULL = Experiment(
    epochs={24: [280, 140, 47], 96: [70, 140, 35]},
    val=48,
    seeds=3,
    # one thread gives the same bytes on any number of cores
    params={"model": {"image_size": 256, "test_size": 384}, "train": {"device": "cpu", "threads": 1, "workers": 0}},
)
TINY = Experiment(
    epochs={4: [2, 4]},
    val=2,
    seeds=2,
    params={
        "model": {"name": "tf_efficientdet_lite0", "image_size": 128, "test_size": None},
        "train": {"warmup_epochs": 0, "device": "cpu", "threads": 1, "workers": 0},
    },
)


class Split(NamedTuple):
    """The images of an experiment."""

    train: AnnotatedImages
    val: AnnotatedImages


def render(work_dir: Path, number: int, experiment: Experiment) -> Split:
    """Render images to train on, of which the first are always the same, and those to measure."""
    recipe = experiment.recipe()
    parts = []
    for seed, (name, count) in enumerate({"train": number, "val": experiment.val}.items()):
        generator = np.random.default_rng(seed)
        scenes = render_scenes(work_dir / name, count, recipe.model.input_wh[0], (0, seed), generator)
        parts.append(annotate(work_dir / name, scenes, recipe)[1])
    return Split(*parts)


def split_photographs(folder: Path, coco_path: Path, number: int) -> Split:
    """Train on the first photographs of a COCO file, and measure on the others."""
    photographs = AnnotatedImages(folder.absolute(), read_json(coco_path))
    ids = [image["id"] for image in photographs.coco["images"]]
    return Split(photographs.of(ids[:number]), photographs.of(ids[number:]))


def run(work_dir: Path, name: str, split: Split, experiment: Experiment, out: Path) -> None:
    """Train all seeds with all numbers of epochs, adding a row to the CSV file after each training."""
    fetch_start(work_dir, experiment.recipe())
    number = len(split.train.coco["images"])
    for seed in range(experiment.seeds):
        for epochs in experiment.epochs[number]:
            stats = train_detector(work_dir, *split, experiment.recipe(seed, epochs)).metrics.stats
            key = dict(zip(KEYS, (name, *map(str, (number, epochs, seed))), strict=True))
            others = [row for row in read_aps(out) if not key.items() <= row.items()]
            write_csv(out / CSV_NAME, [*others, key | {ap: stats[ap] for ap in APS}], [*KEYS, *APS])


def read_aps(out: Path) -> list[dict]:
    """Read the rows of finished trainings, their APs as numbers."""
    return [row | {ap: float(row[ap]) for ap in APS} for row in read_rows(out / CSV_NAME)]


def render_table(rows: list[dict], experiment: Experiment) -> str:
    """Give means and standard deviations over seeds, and differences in pairs of a seed, in Markdown."""
    names = [name for name in (RENDERED, PHOTOGRAPHS) if any(row["images"] == name for row in rows)]
    lines = [["images", "epochs", "steps", *(head for name in names for head in (f"AP, {name}", "difference"))]]
    batch_size = experiment.recipe().train.batch_size
    for number, (usual, *others) in experiment.epochs.items():
        for epochs in sorted([usual, *others], reverse=True):
            line = [str(number), str(epochs), str(epochs * number // batch_size)]
            for name in names:
                own, compared = (by_seed(rows, name, number, count) for count in (epochs, usual))
                line += [mean_and_deviation(list(own.values()), AP) if own else "", difference(own, compared)]
            lines.append(line)
    return markdown(lines)


def by_seed(rows: list[dict], name: str, number: int, epochs: int) -> dict[str, dict]:
    """Find the trainings on so many images of a kind in so many epochs."""
    wanted = {"images": name, "number": str(number), "epochs": str(epochs)}
    return {row["seed"]: row for row in rows if wanted.items() <= row.items()}


def difference(own: dict[str, dict], compared: dict[str, dict]) -> str:
    """Give the mean difference in AP of the seeds that both have; nothing of a row with itself."""
    pairs = [(own[seed], compared[seed]) for seed in own if seed in compared]
    return mean_difference(pairs, AP) if pairs and own != compared else ""


def main(experiment: Experiment, out: Path, number: int, photographs: list[Path] | None) -> None:
    """Train on so many images of one kind, then print the table of all that are in the file."""
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        work_dir = Path(folder)
        if photographs:
            run(work_dir, PHOTOGRAPHS, split_photographs(*photographs, number), experiment, out)
        else:
            run(work_dir, RENDERED, render(work_dir, number, experiment), experiment, out)
    print(render_table(read_aps(out), experiment))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_image_option(parser)
    parser.add_argument("--train", type=int, choices=list(FULL.epochs), default=24, help="images; default 24")
    parser.add_argument("--tiny", action="store_true", help="a minute, only to see that it runs; writes here")
    options = parser.parse_args()
    if options.tiny:
        main(TINY, Path(), 4, options.images)
    else:
        main(FULL, ROOT / "docs", options.train, options.images)
