"""Measure the detector on the validation images and show its detections.

Reads   data/model/, data/coco/val.json, data/raw/val/
Writes  data/detections.json (COCO results format), metrics/evaluate.json,
        plots/evaluate/{precision_recall,ap_by_iou,by_image}.csv, plots/evaluate/errors.json,
        plots/evaluate/images/ (ground truth beside detections)
Run     dvc repro evaluate
"""

from pathlib import Path

from pycocotools.cocoeval import COCOeval

from viadet.annotations.coco import by_image
from viadet.evaluation.augmented_detection import detect_views
from viadet.evaluation.bootstrap import ap_interval
from viadet.evaluation.coco_metrics import coco_stats, map_with_ids_from_0, run_cocoeval
from viadet.evaluation.curves import DECIMALS, ap_by_iou_rows, image_rows, precision_column, precision_recall_rows
from viadet.evaluation.error_kinds import error_rows
from viadet.evaluation.matching import MatchCounts, count_matches, matched_annotations, precision_recall_f1
from viadet.images.pixels import read_image
from viadet.network.detect import detect_coco
from viadet.network.device import keep_freed_memory, pick_device
from viadet.network.weights import load_network
from viadet.pictures.detections import draw_detections
from viadet.pictures.drawing import picture_path, save_figure
from viadet.project.errors import run_stage
from viadet.project.files import read_json, replaced_dir, write_csv, write_json
from viadet.project.params import EvaluateParams, read_recipe

MODEL_DIR = Path("data/model")
COCO_PATH = Path("data/coco/val.json")
IMAGE_DIR = Path("data/raw")
DETECTIONS_PATH = Path("data/detections.json")
METRICS_PATH = Path("metrics/evaluate.json")
PLOTS_DIR = Path("plots/evaluate")
CURVE_IOUS = (0.5, 0.75, 0.9)


def measure(
    coco: dict, results: list[dict], evaluation: COCOeval, counts: dict[int, MatchCounts], bootstrap: int, seed: int
) -> dict[str, float]:
    """Compute COCO metrics, precision, recall, F1 and, with bootstrap samples, AP's confidence interval."""
    metrics = coco_stats(evaluation) | {"bbox_mAP_ids_from_0": map_with_ids_from_0(coco, results)}
    metrics |= precision_recall_f1(list(counts.values()))
    if bootstrap:
        low, high = ap_interval(evaluation, bootstrap, seed)
        metrics |= {"bbox_mAP_low": low, "bbox_mAP_high": high}
    return metrics


def write_pictures(coco: dict, results: list[dict], counts: dict[int, MatchCounts], params: EvaluateParams) -> None:
    """Draw the first images: ground truth beside the detections of at least the score threshold."""
    names = {category["id"]: category["name"] for category in coco["categories"]}
    annotations_by_image = by_image(coco["annotations"])
    results_by_image = by_image([result for result in results if result["score"] >= params.score_threshold])
    with replaced_dir(PLOTS_DIR / "images") as folder:
        for entry in coco["images"][: params.max_images]:
            image, image_id = read_image(IMAGE_DIR / entry["file_name"]), entry["id"]
            figure = draw_detections(
                image, annotations_by_image[image_id], results_by_image[image_id], counts[image_id], names
            )
            save_figure(figure, picture_path(folder, entry["file_name"]))


def write_curves(
    coco: dict, results: list[dict], evaluation: COCOeval, counts: dict[int, MatchCounts], score_threshold: float
) -> None:
    """Write precision by recall, AP by IoU and by image, and the kinds of errors."""
    columns = ["recall", *map(precision_column, CURVE_IOUS)]
    write_csv(PLOTS_DIR / "precision_recall.csv", precision_recall_rows(evaluation, CURVE_IOUS), columns)
    write_csv(PLOTS_DIR / "ap_by_iou.csv", ap_by_iou_rows(evaluation), ["iou", "AP", "recall"])
    columns = ["image", "AP", "objects", "right", "wrong"]
    write_csv(PLOTS_DIR / "by_image.csv", image_rows(coco, evaluation, counts), columns)
    write_json(PLOTS_DIR / "errors.json", error_rows(coco, results, matched_annotations(evaluation), score_threshold))


def main() -> None:
    """Detect and measure, then write pictures, curves, detections and metrics."""
    keep_freed_memory()
    recipe = read_recipe()
    params = recipe.evaluate
    device = pick_device(recipe.train.device, recipe.train.deterministic)
    network, spec = load_network(MODEL_DIR, device, recipe.model.test_wh)
    coco = read_json(COCO_PATH)

    results = detect_coco(network, spec, coco, IMAGE_DIR, device)
    evaluation = run_cocoeval(coco, results)
    counts = count_matches(evaluation, params.score_threshold)
    metrics = measure(coco, results, evaluation, counts, params.bootstrap, recipe.train.seed)
    if params.test_time:
        merged_results = detect_views(MODEL_DIR, coco, IMAGE_DIR, params.test_time, recipe.model.test_wh, device)
        stats = coco_stats(run_cocoeval(coco, merged_results))
        metrics |= {f"views_{name}": value for name, value in stats.items() if "mAP" in name}

    write_pictures(coco, results, counts, params)
    write_curves(coco, results, evaluation, counts, params.score_threshold)
    write_json(DETECTIONS_PATH, results)
    write_json(METRICS_PATH, {name: round(value, DECIMALS) for name, value in metrics.items()})
    print(f"bbox_mAP {metrics['bbox_mAP']:.3f}, {len(results)} detections on {len(coco['images'])} images")


if __name__ == "__main__":
    run_stage(main, __doc__)
