"""AP by the number of annotated images: the least sure ones chosen next against random ones, on rendered balloons.

Both start from the same random images. In each round a network is trained anew on all images annotated so far, is
measured on validation images, and the next images of the pool are chosen: by `viadet predict --unsure`'s measure, or
at random. Annotating is done by the renderer, which knows the balloons.

    python -m benchmarks.annotation_loop [--tiny]

Writes docs/annotation_loop.csv, after each training, and docs/annotation_loop.png
"""

import argparse
import random
import tempfile
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from benchmarks.project import ROOT, seeded_recipe
from benchmarks.small_trainings import AnnotatedImages, fetch_start, train_detector
from viadet.annotations.coco import to_coco
from viadet.annotations.convert import convert_data_set
from viadet.detection.detector import detect_plain
from viadet.inference.records import unsureness
from viadet.network.device import keep_freed_memory
from viadet.pictures.drawing import save_figure
from viadet.project.files import write_csv
from viadet.project.metric_names import AP
from viadet.project.params import Recipe
from viadet.sample.render import write_rendered_split

COLUMNS = ["strategy", "seed", "images", "boxes", "bbox_mAP"]


class Experiment(NamedTuple):
    """How much is rendered, annotated and trained."""

    pool: int  # images to choose from
    validation: int  # images
    rounds: list[int]  # images annotated in each
    seeds: int
    params: dict  # changed in params.yaml's recipe `sample`, by section


FULL = Experiment(128, 32, [12, 24, 36, 48], 3, {"model": {"test_size": None}, "train": {"epochs": 30}})
TINY_TRAINING = {"epochs": 1, "warmup_epochs": 0, "device": "cpu", "workers": 0}
TINY = Experiment(6, 2, [2, 4], 1, {"model": {"image_size": 128, "test_size": None}, "train": TINY_TRAINING})


class Measured(NamedTuple):
    """What a training gave."""

    bbox_mAP: float
    unsureness: dict[int, float]  # of the images of the pool, by id


def render(folder: Path, images: int, seed: int, recipe: Recipe) -> AnnotatedImages:
    """Render images and convert their annotations."""
    folder.mkdir(parents=True)
    write_rendered_split(folder, images, recipe.model.input_wh[0], (seed, 0))
    data_set = convert_data_set(folder, str(folder), recipe.convert)
    return AnnotatedImages(folder, to_coco(data_set.images, data_set.categories.names))


def train_and_measure(
    work_dir: Path, annotated: AnnotatedImages, pool: AnnotatedImages, val: AnnotatedImages, recipe: Recipe
) -> Measured:
    """Train on the annotated images of the pool, measure AP and how unsure the network is about each of the pool."""
    trained = train_detector(work_dir, annotated, val, recipe)
    detections = detect_plain(trained.detector, pool.coco, pool.folder)
    measures = {image_id: unsureness(found.scores.tolist()) for image_id, found in detections.items()}
    return Measured(trained.metrics.stats[AP], measures)


def run_seed(work_dir: Path, experiment: Experiment, recipe: Recipe, seed: int, rows: list[dict], out: Path) -> None:
    """Run both strategies from the same first images, adding a row to the CSV file after each training."""
    pool = render(work_dir / "pool", experiment.pool, 2 * seed, recipe)
    val = render(work_dir / "val", experiment.validation, 2 * seed + 1, recipe)
    ids = [image["id"] for image in pool.coco["images"]]
    first, *later = experiment.rounds
    start = random.Random(seed).sample(ids, first)
    first_trained = train_and_measure(work_dir, pool.of(start), pool, val, recipe)
    for strategy in ("least sure", "random"):
        generator = random.Random(1000 + seed)
        chosen, trained = list(start), first_trained
        for count in [first, *later]:
            left = [image_id for image_id in ids if image_id not in chosen]
            if strategy == "random":
                chosen += generator.sample(left, count - len(chosen))
            else:
                chosen += sorted(left, key=trained.unsureness.__getitem__, reverse=True)[: count - len(chosen)]
            annotated = pool.of(chosen)
            if count > first:
                trained = train_and_measure(work_dir, annotated, pool, val, recipe)
            boxes = len(annotated.coco["annotations"])
            rows.append(dict(zip(COLUMNS, (strategy, seed, count, boxes, trained.bbox_mAP), strict=True)))
            write_csv(out / "annotation_loop.csv", rows, COLUMNS)
            print(rows[-1], flush=True)


def plot(rows: list[dict], path: Path) -> None:
    """Draw the mean over seeds as a line for each strategy, and each training as a point."""
    figure = Figure(figsize=(6.4, 4.2), dpi=100, layout="constrained")
    ax = figure.add_subplot(xlabel="annotated images", ylabel="bbox mAP on the validation images")
    for strategy, colour in (("least sure", "tab:orange"), ("random", "tab:blue")):
        own = [row for row in rows if row["strategy"] == strategy]
        counts = sorted({row["images"] for row in own})
        values = [[row["bbox_mAP"] for row in own if row["images"] == count] for count in counts]
        ax.plot(counts, [sum(aps) / len(aps) for aps in values], color=colour, marker="o", label=strategy)
        ax.scatter([row["images"] for row in own], [row["bbox_mAP"] for row in own], color=colour, alpha=0.35, s=14)
    ax.set_xticks(sorted({row["images"] for row in rows}))
    ax.legend(title=f"chosen, mean of {len({row['seed'] for row in rows})} seeds")
    ax.grid(alpha=0.3)
    save_figure(figure, path)


def main(experiment: Experiment, out: Path) -> None:
    """Run all seeds, then plot."""
    keep_freed_memory()
    rows: list[dict] = []
    for seed in range(experiment.seeds):
        recipe = seeded_recipe("sample", experiment.params, seed)
        with tempfile.TemporaryDirectory() as folder:
            fetch_start(Path(folder), recipe)
            run_seed(Path(folder), experiment, recipe, seed, rows, out)
    plot(rows, out / "annotation_loop.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a minute, only to see that it runs; writes here")
    arguments = parser.parse_args()
    main(*((TINY, Path()) if arguments.tiny else (FULL, ROOT / "docs")))
