"""Measure the detector on the validation images and show its detections.

Reads   data/model/, data/coco/val.json, data/raw/val/
Writes  data/detections.json (COCO results format), metrics/evaluate.json,
        plots/evaluate/{precision_recall,ap_by_iou,by_image}.csv, plots/evaluate/errors.json,
        plots/evaluate/images/ (ground truth beside detections)
Run     dvc repro evaluate
"""

from pathlib import Path

from viadet.evaluation.bootstrap import ap_interval
from viadet.evaluation.coco_metrics import coco_stats, map_with_ids_from_0, run_cocoeval
from viadet.evaluation.curves import DECIMALS, ap_by_iou_rows, image_rows, precision_recall_rows
from viadet.evaluation.error_kinds import error_rows
from viadet.evaluation.matching import matched_annotations, matches_by_image, precision_recall_f1
from viadet.evaluation.views import detect_views
from viadet.network.detect import detect_coco
from viadet.network.device import keep_freed_memory, pick_device
from viadet.network.weights import load_network
from viadet.pictures.detections import draw_pictures
from viadet.project.errors import run_stage
from viadet.project.files import read_json, replaced_dir, write_csv, write_json
from viadet.project.params import read_recipe

MODEL_DIR = Path("data/model")
COCO_PATH = Path("data/coco/val.json")
IMAGE_DIR = Path("data/raw")
DETECTIONS_PATH = Path("data/detections.json")
METRICS_PATH = Path("metrics/evaluate.json")
PLOTS_DIR = Path("plots/evaluate")
CURVE_IOUS = (0.5, 0.75, 0.9)


def main() -> None:
    """Detect, measure, draw."""
    keep_freed_memory()
    recipe = read_recipe()
    threshold = recipe.evaluate.score_threshold
    device = pick_device(recipe.train.device, recipe.train.deterministic)
    network, spec = load_network(MODEL_DIR, device, recipe.model.test_wh)
    coco = read_json(COCO_PATH)

    results = detect_coco(network, spec, coco, IMAGE_DIR, device)
    evaluation = run_cocoeval(coco, results)
    matches = matches_by_image(evaluation, threshold)
    metrics = (
        coco_stats(evaluation)
        | {"bbox_mAP_ids_from_0": map_with_ids_from_0(coco, results)}
        | precision_recall_f1(list(matches.values()))
    )
    if recipe.evaluate.bootstrap:
        low, high = ap_interval(evaluation, recipe.evaluate.bootstrap, recipe.train.seed)
        metrics |= {"bbox_mAP_low": low, "bbox_mAP_high": high}
    if recipe.evaluate.test_time:
        views = detect_views(MODEL_DIR, coco, IMAGE_DIR, recipe.evaluate.test_time, recipe.model.test_wh, device)
        together = coco_stats(run_cocoeval(coco, views))
        metrics |= {f"views_{name}": value for name, value in together.items() if "mAP" in name}
    with replaced_dir(PLOTS_DIR / "images") as folder:
        drawn = coco | {"images": coco["images"][: recipe.evaluate.max_images]}
        draw_pictures(drawn, IMAGE_DIR, [r for r in results if r["score"] >= threshold], matches, folder)
    write_csv(
        PLOTS_DIR / "precision_recall.csv",
        precision_recall_rows(evaluation, CURVE_IOUS),
        ["recall", *(f"precision_{round(100 * iou)}" for iou in CURVE_IOUS)],
    )
    write_csv(PLOTS_DIR / "ap_by_iou.csv", ap_by_iou_rows(evaluation), ["iou", "AP", "recall"])
    write_csv(
        PLOTS_DIR / "by_image.csv", image_rows(coco, evaluation, matches), ["image", "AP", "objects", "right", "wrong"]
    )
    write_json(PLOTS_DIR / "errors.json", error_rows(coco, results, matched_annotations(evaluation), threshold))
    write_json(DETECTIONS_PATH, results)
    write_json(METRICS_PATH, {name: round(value, DECIMALS) for name, value in metrics.items()})
    print(f"bbox_mAP {metrics['bbox_mAP']:.3f}, {len(results)} detections on {len(coco['images'])} images")


if __name__ == "__main__":
    run_stage(main, __doc__)
