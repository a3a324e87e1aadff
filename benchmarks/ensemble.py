"""Measure what fusing several models brings: AP on the validation images, of each model alone and of all fused.

    python -m benchmarks.ensemble MODEL_FOLDER MODEL_FOLDER... [--results FOLDER]

To be run in the project after `dvc repro evaluate`, with models of the same categories, such as those of several
seeds. Each model detects once in each view of an image, at its own size and otherwise as the first folder's detect.json
says; all rows are made of these detections. "fused" is what `viadet.load` of all folders gives.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from benchmarks.timing import make_parser, write_json_of
from viadet.detection.detections import Detections
from viadet.detection.detector import DetectedImage, Detector
from viadet.detection.loading import load_detector
from viadet.detection.views import merge_views, sight_of
from viadet.evaluation.coco_metrics import evaluate_coco
from viadet.evaluation.summary import map_with_ids_from_0
from viadet.network.device import keep_freed_memory, train_device
from viadet.project.files import read_json
from viadet.project.metric_names import AP, AP_NAMES
from viadet.project.params import read_recipe

COCO_PATH, IMAGE_DIR = Path("data/coco/val.json"), Path("data/raw")
IDS_FROM_0 = f"{AP}_ids_from_0"
Merge = Callable[[DetectedImage], Detections]


class ApRow(NamedTuple):
    """AP of one way of detecting."""

    what: str
    figures: dict[str, float]  # by the metric's name


def merge_views_of(detector: Detector, number: int, image: DetectedImage) -> Detections:
    """Merge the views of one of the models, as if it were alone."""
    views = [view for view in detector.views if view.model == number]
    found, settings = [image.by_view[view] for view in views], detector.settings
    return merge_views(found, settings.views.merge, settings.max_detections, sight_of(image.size_wh, views))


def ways_to_merge(detector: Detector) -> dict[str, tuple[list[Merge], Merge]]:
    """Give by kind how the detections of each model alone are merged, and those of all."""
    alone = [lambda image, view=view: image.by_view[view] for view in detector.plain]
    alone_with_views = [partial(merge_views_of, detector, number) for number in range(len(detector.models))]
    return {"one view": (alone, detector.merge_plain), "views merged": (alone_with_views, detector.merge)}


def measure(detector: Detector, coco: dict, image_dir: Path) -> list[ApRow]:
    """Detect once, then evaluate each model, their mean and the fused detections, in one view and in several."""
    paths = [image_dir / image["file_name"] for image in coco["images"]]
    found = list(detector.detect_all(paths, detector.all_views))

    def figures_of(merge: Merge) -> dict[str, float]:
        detections = {image["id"]: merge(detected) for image, detected in zip(coco["images"], found, strict=True)}
        metrics = evaluate_coco(coco, detections, detector.settings.max_detections)
        figures = {name: metrics.stats[name] for name in AP_NAMES}
        return figures | {IDS_FROM_0: map_with_ids_from_0(metrics.matches)}

    rows = []
    for kind, (alone, fused) in ways_to_merge(detector).items():
        by_model = [figures_of(merge) for merge in alone]
        rows += [ApRow(f"model {number}, {kind}", figures) for number, figures in enumerate(by_model, start=1)]
        means = {name: round(mean(figures[name] for figures in by_model), 4) for name in by_model[0]}
        rows += [ApRow(f"mean of the models, {kind}", means), ApRow(f"fused, {kind}", figures_of(fused))]
    return rows


def render(rows: list[ApRow]) -> str:
    """Render the rows in Markdown."""
    names = [name.removeprefix(f"{AP}_").replace("_", " ") for name in rows[0].figures]
    lines = [f"| | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
    for row in rows:
        cells = ["" if value < 0 else f"{value:.3f}" for value in row.figures.values()]  # -1: no objects of that size
        lines.append(f"| {row.what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and write the results."""
    parser = make_parser(__doc__)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL_FOLDER", help="as `viadet.load` takes them")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    detector = load_detector(options.models, train_device(read_recipe().train), views=True)
    rows = measure(detector, read_json(COCO_PATH), IMAGE_DIR)
    settings = {"models": len(detector.models), "views": len(detector.views), "data": COCO_PATH.name}
    write_json_of(options.results, "ensemble", settings, rows)
    print(render(rows))


if __name__ == "__main__":
    main()
