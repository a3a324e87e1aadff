"""What tiles bring for small objects: AP on rendered scenes of 2048 px with balloons of 12 to 24 px.

Each seed renders its own scenes and trains twice, for as many steps: with `train.augment.scale` up to 2 and measured
without tiles, as before there were any; and with the recipe `own` as it is, `auto` for both. Only the views differ in
what is measured: the photograph at one scale, and the tiles beside it.

    python -m benchmarks.tiles [--seed 0] [--tiny]

Writes docs/tiles.csv, a row after each training, which stay there, and prints the table of docs/own_images.md
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.project import ROOT, seeded_recipe
from benchmarks.scenes import save_annotated
from benchmarks.small_trainings import AnnotatedImages, fetch_start, train_detector
from benchmarks.tables import markdown, mean_and_error, read_rows
from viadet.annotations.coco import to_coco
from viadet.detection.detector import detect_data_set
from viadet.evaluation.coco_metrics import evaluate_coco
from viadet.network.device import keep_freed_memory
from viadet.project.files import write_csv
from viadet.project.metric_names import AP, AP_50
from viadet.project.params import Recipe
from viadet.sample.balloons import Balloon
from viadet.sample.painting import add_camera_effects, draw_body, draw_string
from viadet.sample.pixels import bright_colour
from viadet.sample.render import SUPERSAMPLE
from viadet.sample.scenery import BACKDROPS, draw_clutter

CSV_NAME = "tiles.csv"
BEFORE, TILED = "without tiles", "with tiles"
COLUMNS = ["way", "seed", "tiles", "plain_bbox_mAP", AP, AP_50, "seconds_an_image"]
LENGTH_PX = (12, 24)  # of a balloon
COUNT = (8, 30)  # of balloons in a scene


class Experiment(NamedTuple):
    """How much is rendered and trained."""

    train: int  # scenes
    val: int
    side_px: int
    seeds: int
    params: dict  # changed in params.yaml's recipe `own`, by section


FULL = Experiment(
    train=24,
    val=10,
    side_px=2048,
    seeds=3,
    params={
        "model": {"name": "tf_efficientdet_lite0", "image_size": 512, "test_size": None},
        "train": {"epochs": 40, "device": "cpu", "threads": 1, "workers": 0},
    },
)
TINY = Experiment(
    train=4,
    val=2,
    side_px=512,
    seeds=1,
    params={
        "model": {"name": "tf_efficientdet_lite0", "image_size": 128, "test_size": None},
        "train": {"epochs": 2, "warmup_epochs": 0, "device": "cpu", "threads": 1, "workers": 0},
    },
)


def render_scene(rng: np.random.Generator, side_px: int) -> tuple[Image.Image, list[NDArray[np.float64]]]:
    """Render a large scene with many small balloons, apart from each other.

    Returns:
        The picture, and the outline of each balloon, [points, 2] in px of the picture.
    """
    canvas_wh = (side_px * SUPERSAMPLE, round(side_px * rng.uniform(0.6, 0.8)) * SUPERSAMPLE)
    canvas = BACKDROPS[rng.integers(len(BACKDROPS))](rng, canvas_wh)
    draw_clutter(rng, canvas)
    light = np.array([0.4, -0.6, 1.0]) / np.linalg.norm([0.4, -0.6, 1.0])
    balloons: list[Balloon] = []
    for _ in range(rng.integers(*COUNT)):
        length = SUPERSAMPLE * rng.uniform(*LENGTH_PX)
        x, y = rng.uniform(0.02, 0.98, 2) * canvas_wh
        if all(np.hypot(x - other.centre[0], y - other.centre[1]) > length + other.length for other in balloons):
            shape = (length, rng.uniform(0.74, 0.92), rng.uniform(0.06, 0.2), rng.normal(0, 0.14))
            balloons.append(Balloon((x, y), *shape, bright_colour(rng), (x, y + 1.6 * length)))
    for balloon in balloons:
        draw_string(canvas, balloon)
        draw_body(canvas, balloon, light)
    picture = add_camera_effects(rng, canvas.reduce(SUPERSAMPLE))
    return picture, [balloon.outline() / SUPERSAMPLE for balloon in balloons]


def render(folder: Path, scenes: int, side_px: int, seed: tuple[int, int]) -> AnnotatedImages:
    """Render scenes into a new folder."""
    folder.mkdir()
    converted = []
    for number in range(scenes):
        picture, outlines = render_scene(np.random.default_rng([*seed, number]), side_px)
        rounded = [outline.round(1) for outline in outlines]
        converted.append(save_annotated(folder / f"{number:04d}.jpg", picture, rounded, [1] * len(rounded)))
    return AnnotatedImages(folder, to_coco(converted, ["balloon"]))


def recipe_for(way: str, experiment: Experiment, seed: int) -> Recipe:
    """Give the recipe `own` for a way: as it is, or without what it does for small objects; views at one scale."""
    recipe = seeded_recipe("own", experiment.params, seed)
    views = recipe.evaluate.test_time.model_copy(update={"scales": [1.0], "flip": False})
    augment = recipe.train.augment
    if way == BEFORE:
        views = views.model_copy(update={"tiles": 0})
        augment = augment.model_copy(update={"scale": [augment.scale[0], 2.0]})
    return recipe.model_copy(
        update={
            "train": recipe.train.model_copy(update={"augment": augment}),
            "evaluate": recipe.evaluate.model_copy(update={"test_time": views}),
        }
    )


def run_seed(work_dir: Path, experiment: Experiment, seed: int, out: Path) -> None:
    """Train and measure in both ways, adding a row to the CSV file after each."""
    train = render(work_dir / "train", experiment.train, experiment.side_px, (seed, 0))
    val = render(work_dir / "val", experiment.val, experiment.side_px, (seed, 1))
    fetch_start(work_dir, recipe_for(TILED, experiment, seed))
    for way in (BEFORE, TILED):
        recipe = recipe_for(way, experiment, seed)
        detector = train_detector(work_dir, train, val, recipe).detector
        started = time.perf_counter()
        plain, merged = detect_data_set(detector, val.coco, val.folder)
        seconds = round((time.perf_counter() - started) / len(val.coco["images"]), 2)
        figures = [evaluate_coco(val.coco, found).stats for found in (plain, merged)]
        values = (way, seed, detector.settings.views.tiles, figures[0][AP], figures[1][AP], figures[1][AP_50], seconds)
        row = dict(zip(COLUMNS, values, strict=True))
        print(row, flush=True)
        others = [other for other in read_rows(out / CSV_NAME) if (other["way"], other["seed"]) != (way, str(seed))]
        write_csv(out / CSV_NAME, [*others, row], COLUMNS)


def render_table(rows: list[dict[str, str]]) -> str:
    """Give mean and standard error over seeds in Markdown."""
    lines = [["", "AP of one view", "AP with all views", "AP50", "seconds an image"]]
    for way in (BEFORE, TILED):
        own = [row for row in rows if row["way"] == way]
        *aps, seconds = ([float(row[column]) for row in own] for column in COLUMNS[3:])
        lines.append([way, *map(mean_and_error, aps), f"{mean(seconds):.1f}"])
    return markdown(lines)


def main(experiment: Experiment, seeds: list[int], out: Path) -> None:
    """Run the seeds, then print the table of all that are in the file."""
    keep_freed_memory()
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            run_seed(Path(folder), experiment, seed, out)
    print(render_table(read_rows(out / CSV_NAME)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="only this one, from 0; the file keeps the rows of the others")
    parser.add_argument("--tiny", action="store_true", help="a minute, only to see that it runs; writes here")
    arguments = parser.parse_args()
    chosen = TINY if arguments.tiny else FULL
    numbers = list(range(chosen.seeds)) if arguments.seed is None else [arguments.seed]
    main(chosen, numbers, Path() if arguments.tiny else ROOT / "docs")
