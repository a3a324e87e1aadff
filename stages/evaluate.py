"""Measure the detector on the validation images and show its detections.

Reads   data/model/, data/coco/val.json (and test.json, if evaluate.test_set), data/raw/
Writes  data/detections.json (COCO results format), metrics/evaluate.json, metrics/evaluate_details.json (all figures),
        plots/evaluate/{precision_recall,ap_by_iou,by_image,by_class,errors_by_class,confusion_matrix}.csv,
        plots/evaluate/errors.json, plots/evaluate/confusion_matrix.png,
        plots/evaluate/images/ (ground truth beside detections)
Run     dvc repro evaluate
"""

from pathlib import Path

from pycocotools.cocoeval import COCOeval

from viadet.annotations.coco import by_image, category_names
from viadet.evaluation.augmented_detection import detect_views
from viadet.evaluation.coco_metrics import run_cocoeval
from viadet.evaluation.confusion import confusion_matrix, confusion_rows
from viadet.evaluation.curves import ap_by_iou_rows, class_rows, image_rows, precision_recall_rows
from viadet.evaluation.error_kinds import analyse_errors, class_error_rows, error_rows
from viadet.evaluation.matching import MatchCounts, count_matches, matched_annotations
from viadet.evaluation.summary import ap_figures, main_figures, summarise
from viadet.images.pixels import read_image
from viadet.network.detect import detect_coco
from viadet.network.device import keep_freed_memory, pick_device
from viadet.network.weights import load_network
from viadet.pictures.confusion_matrix import draw_confusion_matrix
from viadet.pictures.detections import draw_detections
from viadet.pictures.drawing import picture_names, save_figure
from viadet.project.errors import run_stage
from viadet.project.files import read_json, replaced_dir, write_csv, write_json
from viadet.project.params import EvaluateParams, read_recipe

MODEL_DIR = Path("data/model")
COCO_PATH = Path("data/coco/val.json")
TEST_PATH = Path("data/coco/test.json")
IMAGE_DIR = Path("data/raw")
DETECTIONS_PATH = Path("data/detections.json")
METRICS_PATH = Path("metrics/evaluate.json")
DETAILS_PATH = Path("metrics/evaluate_details.json")
PLOTS_DIR = Path("plots/evaluate")
CURVE_IOUS = (0.5, 0.75, 0.9)


def write_pictures(coco: dict, results: list[dict], counts: dict[int, MatchCounts], params: EvaluateParams) -> None:
    """Draw the first images: ground truth beside the detections of at least the score threshold."""
    names, file_names = category_names(coco), picture_names(coco)
    annotations = by_image(coco["annotations"])
    results_by_image = by_image([result for result in results if result["score"] >= params.score_threshold])
    with replaced_dir(PLOTS_DIR / "images") as folder:
        for entry in coco["images"][: params.max_images]:
            image, id_ = read_image(IMAGE_DIR / entry["file_name"]), entry["id"]
            figure = draw_detections(image, annotations[id_], results_by_image[id_], counts[id_], names)
            save_figure(figure, folder / file_names[id_])


def write_curves(coco: dict, evaluation: COCOeval, counts: dict[int, MatchCounts], score_threshold: float) -> None:
    """Write precision by recall, AP by IoU, by image and by class."""
    class_counts = count_matches(evaluation, score_threshold, by="category_id")
    precision_recall = precision_recall_rows(evaluation, CURVE_IOUS)
    tables = {"precision_recall": precision_recall, "ap_by_iou": ap_by_iou_rows(evaluation)}
    tables |= {"by_image": image_rows(coco, evaluation, counts), "by_class": class_rows(coco, evaluation, class_counts)}
    for name, rows in tables.items():
        write_csv(PLOTS_DIR / f"{name}.csv", rows, list(rows[0]))


def write_errors(coco: dict, results: list[dict], evaluation: COCOeval, score_threshold: float) -> None:
    """Write the kinds of errors, overall and by class, and which classes are taken for which."""
    analysis = analyse_errors(coco, results, matched_annotations(evaluation), score_threshold)
    write_json(PLOTS_DIR / "errors.json", error_rows(analysis))
    matrix = confusion_matrix(coco, results, score_threshold)
    tables = {"errors_by_class": class_error_rows(coco, analysis), "confusion_matrix": confusion_rows(coco, matrix)}
    for name, rows in tables.items():
        write_csv(PLOTS_DIR / f"{name}.csv", rows, list(rows[0]))
    figure = draw_confusion_matrix(matrix, list(category_names(coco).values()))
    save_figure(figure, PLOTS_DIR / "confusion_matrix.png")


def main() -> None:
    """Detect and measure, then write pictures, curves, detections and metrics."""
    keep_freed_memory()
    recipe = read_recipe()
    params = recipe.evaluate
    device = pick_device(recipe.train.device, recipe.train.deterministic, recipe.train.tf32)
    network, spec = load_network(MODEL_DIR, device, recipe.model.test_wh)
    coco = read_json(COCO_PATH)

    limit = params.max_detections
    results = detect_coco(network, spec, coco, IMAGE_DIR, device, limit)
    evaluation = run_cocoeval(coco, results, limit)
    counts = count_matches(evaluation, params.score_threshold)
    metrics = summarise(coco, results, evaluation, counts, params.bootstrap, recipe.train.seed)
    if params.test_time:
        merged = detect_views(MODEL_DIR, coco, IMAGE_DIR, params.test_time, recipe.model.test_wh, device, limit)
        metrics |= ap_figures("views", coco, merged, limit)
    if params.test_set:
        test_coco = read_json(TEST_PATH)
        metrics |= ap_figures("test", test_coco, detect_coco(network, spec, test_coco, IMAGE_DIR, device, limit), limit)

    write_pictures(coco, results, counts, params)
    write_curves(coco, evaluation, counts, params.score_threshold)
    write_errors(coco, results, evaluation, params.score_threshold)
    write_json(DETECTIONS_PATH, results)
    write_json(METRICS_PATH, main_figures(metrics))
    write_json(DETAILS_PATH, metrics)
    print(f"bbox_mAP {metrics['bbox_mAP']:.3f}, {len(results)} detections on {len(coco['images'])} images")


if __name__ == "__main__":
    run_stage(main, __doc__)
