"""Explain detections and missed objects with class activation maps, and measure whether the maps can be trusted.

Maps of the detections, right and wrong, and of the missed objects through the anchors nearest to them, at each level of
the neck. Measured over all detections: whether a map points into the box and the polygon, how much of its energy lies
there, what happens to the score when its highest pixels are deleted, and whether the map changes when the network's
weights become random.

Reads   data/model/, data/coco/val.json, data/raw/val/
Writes  plots/grad_cam/images/: a picture an image, a row for each explained box; plots/grad_cam/methods.png,
        plots/grad_cam/{perturbation,randomisation}.csv; metrics/grad_cam.json (every method and level),
        metrics/grad_cam_summary.json (what experiments are compared by)
Run     dvc repro grad_cam
"""

from collections import defaultdict
from pathlib import Path

from tqdm import tqdm

from viadet.explanation.cams import BASELINE, class_activation_maps
from viadet.explanation.explained_boxes import explain_image, single_image_sets
from viadet.explanation.measurements import measure_image
from viadet.explanation.metrics import (
    PERTURBATION_COLUMNS,
    RANDOMISATION_COLUMNS,
    metrics_of,
    perturbation_rows,
    randomisation_rows,
    summary_of,
)
from viadet.explanation.randomisation import check_randomisation, keep_for_randomisation
from viadet.network.build import level_names
from viadet.network.device import keep_freed_memory, pick_device
from viadet.network.weights import load_network
from viadet.pictures.cams import draw_cams, draw_methods
from viadet.pictures.drawing import picture_path, save_figure
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
    """Explain, measure and draw the validation images, then check the maps with random weights."""
    keep_freed_memory()
    recipe = read_recipe()
    params, seed = recipe.grad_cam, recipe.train.seed
    device = pick_device(recipe.train.device, recipe.train.deterministic)
    network, spec = load_network(MODEL_DIR, device, recipe.model.test_wh)
    names = level_names(network)
    image_sets = single_image_sets(read_json(COCO_PATH))
    methods = list(dict.fromkeys([*params.methods, BASELINE]))

    boxes, measurements, kept_images = [], defaultdict(list), []
    with replaced_dir(PLOTS_DIR / "images") as folder:
        for number, image_coco in enumerate(tqdm(image_sets, desc="explain", unit="img")):
            image = explain_image(network, spec, IMAGE_DIR, image_coco, params, seed)
            boxes += [(box.kind, names[box.target.level]) for box in image.boxes]
            # Missed objects are drawn, but not measured: there is no detection that a map could point into.
            coarse_maps = {
                method: class_activation_maps(method, network, image.forward_pass, image.detections)
                for method in methods
            }
            checked, drawn = number < params.checked_images, number < params.max_images
            for key, value in measure_image(network, image, coarse_maps, names, with_perturbation=checked):
                measurements[key].append(value)
            if checked:
                kept_images.append(keep_for_randomisation(image, coarse_maps))
            if drawn:
                missed = image.missed[: params.max_mistakes]
                missed_maps = class_activation_maps(methods[0], network, image.forward_pass, missed)
                figure = draw_cams(image, coarse_maps[methods[0]] + missed_maps, names, methods[0], params)
                save_figure(figure, picture_path(folder, image_coco["images"][0]["file_name"]))
    randomisation = check_randomisation(network, spec, kept_images, methods, seed)

    metrics = metrics_of(boxes, measurements, randomisation, names)
    write_json(METRICS_PATH, metrics)
    write_json(SUMMARY_PATH, summary_of(metrics, methods[0]))
    save_figure(draw_methods(measurements, randomisation), PLOTS_DIR / "methods.png")
    write_csv(PLOTS_DIR / "perturbation.csv", perturbation_rows(measurements, methods[0]), PERTURBATION_COLUMNS)
    write_csv(PLOTS_DIR / "randomisation.csv", randomisation_rows(randomisation, methods[0]), RANDOMISATION_COLUMNS)
    print(f"{metrics['detections']} detections explained on {len(image_sets)} validation images")


if __name__ == "__main__":
    run_stage(main, __doc__)
