"""Explain detections and missed objects with class activation maps, and measure whether the maps can be trusted.

Maps of the detections, right and wrong, and of the missed objects through the anchors nearest to them, at each level of
the neck. Measured over the detections of `grad_cam.measured_images`: whether a map points into the box and the polygon,
how much of its energy lies there, what happens to the score when its highest pixels are deleted, and whether the map
changes when the network's weights become random.

Reads   data/model/, data/coco/val.json, data/raw/
Writes  plots/grad_cam/images/: a picture an image, a row for each explained box; plots/grad_cam/methods.png,
        plots/grad_cam/{perturbation,randomisation}.csv; metrics/grad_cam.json (every method and level),
        metrics/grad_cam_summary.json (what experiments are compared by)
Run     dvc repro grad_cam
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from viadet.annotations.coco import category_names
from viadet.detection.detector import Detector
from viadet.detection.settings import DetectSettings
from viadet.explanation.cams import BASELINE, class_activation_maps
from viadet.explanation.explained_boxes import explain_image, single_image_sets
from viadet.explanation.measurements import Measurements, evenly_spread, measure_image
from viadet.explanation.metrics import (
    PERTURBATION_COLUMNS,
    RANDOMISATION_COLUMNS,
    metrics_of,
    perturbation_rows,
    randomisation_rows,
    summary_of,
)
from viadet.explanation.randomisation import Randomisation, check_randomisation, keep_for_randomisation
from viadet.network.build import level_names
from viadet.network.device import keep_freed_memory, train_device
from viadet.network.weights import load_network
from viadet.pictures.cams import draw_cams, draw_methods
from viadet.pictures.drawing import picture_names, save_figure
from viadet.project.counting import counted
from viadet.project.errors import run_stage
from viadet.project.files import read_json, replaced_dir, write_csv, write_json
from viadet.project.params import read_recipe

MODEL_DIR = Path("data/model")
COCO_PATH = Path("data/coco/val.json")
IMAGE_DIR = Path("data/raw")
PLOTS_DIR = Path("plots/grad_cam")
METRICS_PATH = Path("metrics/grad_cam.json")
SUMMARY_PATH = Path("metrics/grad_cam_summary.json")


def main() -> None:
    """Explain, measure and draw validation images, then check the maps with random weights."""
    keep_freed_memory()
    recipe = read_recipe()
    params, seed = recipe.grad_cam, recipe.train.seed
    device = train_device(recipe.train)
    settings = DetectSettings.of_recipe(recipe, None)
    detector = Detector(*load_network(MODEL_DIR, device, settings.test_wh), settings)
    network, coco = detector.plain_network.network, read_json(COCO_PATH)
    levels = level_names(network)
    image_sets, file_names = single_image_sets(coco), picture_names(coco)
    methods = list(dict.fromkeys([*params.methods, BASELINE]))
    drawn, measured = range(params.max_images), evenly_spread(len(image_sets), params.measured_images)
    explained = sorted({*drawn[: len(image_sets)], *measured})

    boxes, measurements, kept_images = [], defaultdict(list), []
    with replaced_dir(PLOTS_DIR / "images") as folder:
        for number in tqdm(explained, desc="explain", unit="img"):
            image = explain_image(detector, IMAGE_DIR, image_sets[number], params, seed)
            # Missed objects are drawn, but not measured: there is no detection that a map could point into.
            needed = methods if number in measured else methods[:1]
            coarse_maps = {
                method: class_activation_maps(method, network, image.forward_pass, image.detections)
                for method in needed
            }
            checked = number in measured[: params.checked_images]
            if number in measured:
                boxes += [(box.kind, levels[box.target.level]) for box in image.boxes]
                measure_image(measurements, network, image, coarse_maps, levels, with_perturbation=checked)
            if checked:
                kept_images.append(keep_for_randomisation(image, coarse_maps))
            if number in drawn:
                missed = image.missed[: params.max_mistakes]
                maps = coarse_maps[methods[0]] + class_activation_maps(methods[0], network, image.forward_pass, missed)
                figure = draw_cams(image, maps, levels, methods[0], params, category_names(coco))
                save_figure(figure, folder / file_names[coco["images"][number]["id"]])
    randomisation = check_randomisation(detector.plain_network, kept_images, methods, seed)

    metrics = metrics_of(boxes, measurements, randomisation, levels)
    metrics |= {"images": len(image_sets), "measured_images": len(measured)}
    write_results(metrics, measurements, randomisation, methods[0])
    detections, images = counted(metrics["detections"], "detection"), counted(len(image_sets), "validation image")
    print(f"{detections} on {len(measured)} of {images} measured")


def write_results(
    metrics: dict[str, Any], measurements: Measurements, randomisation: Randomisation, method: str
) -> None:
    """Write all metrics, and summary and curves of one method."""
    write_json(METRICS_PATH, metrics)
    write_json(SUMMARY_PATH, summary_of(metrics, method))
    save_figure(draw_methods(measurements, randomisation), PLOTS_DIR / "methods.png")
    write_csv(PLOTS_DIR / "perturbation.csv", perturbation_rows(measurements, method), PERTURBATION_COLUMNS)
    write_csv(PLOTS_DIR / "randomisation.csv", randomisation_rows(randomisation, method), RANDOMISATION_COLUMNS)


if __name__ == "__main__":
    run_stage(main, __doc__)
