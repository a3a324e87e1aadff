"""Show why the detector sees an object there, or sees none, and measure whether that explanation means anything.

Class activation maps of the detections, right and wrong, and of the missed objects through the anchors nearest to them,
at each level of the neck. Measured over all detections: whether a map points into the box and the polygon, how much of
its energy lies there, what happens to the score when its pixels are taken away, and whether it changes when the weights
become random.

Reads   data/model/, data/coco/val.json, data/raw/val/
Writes  plots/grad_cam/images/: a picture an image, a row for each explained box; plots/grad_cam/methods.png,
        plots/grad_cam/{perturbation,randomisation}.csv; metrics/grad_cam.json (every method and level),
        metrics/grad_cam_summary.json (what experiments are compared by)
Run     dvc repro grad_cam
"""

from collections import defaultdict
from pathlib import Path

from tqdm import tqdm

from viadet.annotations.coco import by_image
from viadet.explanation.explained import coarse_maps, enlarged, explain_image
from viadet.explanation.faithfulness import measure_image
from viadet.explanation.randomisation import keep_for_randomisation, randomisation
from viadet.explanation.summary import BASELINE, metrics_of, summary_of, write_curves
from viadet.network.boxes import anchors_of
from viadet.network.build import level_names
from viadet.network.device import keep_freed_memory, pick_device
from viadet.network.weights import load_network
from viadet.pictures.cams import draw_cams, draw_methods, rows_to_draw
from viadet.pictures.drawing import picture_path, save_figure
from viadet.project.errors import run_stage
from viadet.project.files import read_json, replaced_dir, write_json
from viadet.project.params import read_recipe

MODEL_DIR = Path("data/model")
COCO_PATH = Path("data/coco/val.json")
IMAGE_DIR = Path("data/raw")
PLOTS_DIR = Path("plots/grad_cam")
METRICS_PATH = Path("metrics/grad_cam.json")
SUMMARY_PATH = Path("metrics/grad_cam_summary.json")


def main() -> None:
    """Explain, measure, draw_cams."""
    keep_freed_memory()
    recipe = read_recipe()
    params = recipe.grad_cam
    device = pick_device(recipe.train.device, recipe.train.deterministic)
    network, spec = load_network(MODEL_DIR, device, recipe.model.test_wh)
    names = level_names(network)
    coco = read_json(COCO_PATH)
    annotations = by_image(coco["annotations"])
    methods = list(dict.fromkeys([*params.methods, BASELINE]))

    anchors = anchors_of(network, device)
    boxes, checked, values = [], [], defaultdict(list)
    with replaced_dir(PLOTS_DIR / "images") as folder:
        for number, entry in enumerate(tqdm(coco["images"], desc="explain", unit="img")):
            look = explain_image(
                network, spec, IMAGE_DIR, coco, entry, annotations[entry["id"]], anchors, params, recipe.train.seed
            )
            slow, drawn = number < params.checked_images, number < params.max_images
            explained = [*look.detections, *look.missed]
            boxes += [(box.kind, names[box.target.level]) for box in explained]
            # Missed objects are drawn, not measured: nothing was found that a map could lie in.
            coarse = {method: coarse_maps(method, network, look.passed, look.detections) for method in methods}
            if drawn:
                coarse[methods[0]] += coarse_maps(methods[0], network, look.passed, look.missed[: params.max_mistakes])
            maps = {method: [enlarged(mine, look.letterbox) for mine in coarse[method]] for method in methods}
            for key, value in measure_image(network, look, maps, names, slow):
                values[key].append(value)
            if slow:
                checked.append(keep_for_randomisation(look, coarse))
            if drawn:
                figure = draw_cams(look, rows_to_draw(look, params), maps[methods[0]], names, methods[0], params)
                save_figure(figure, picture_path(folder, entry["file_name"]))
    steps, correlations, untrained = randomisation(network, spec, checked, methods, recipe.train.seed, device)
    values |= untrained
    metrics = metrics_of(boxes, values, steps, correlations, names)
    save_figure(draw_methods(values, steps, correlations), PLOTS_DIR / "methods.png")
    write_curves(PLOTS_DIR, values, steps, correlations, methods[0])
    write_json(METRICS_PATH, metrics)
    write_json(SUMMARY_PATH, summary_of(metrics, methods[0]))
    print(f"{metrics['detections']} detections explained on {len(coco['images'])} validation images")


if __name__ == "__main__":
    run_stage(main, __doc__)
