"""Measure the detector on the validation images and show its detections.

Reads   data/model/, data/coco/{train,val}.json (and test.json, if evaluate.test_set), data/raw/, data/init/start.json
Writes  data/detections.json (COCO results format), metrics/evaluate.json, metrics/evaluate_details.json (all figures),
        plots/evaluate/{precision_recall,ap_by_iou,by_image,by_class,errors_by_class,confusion_matrix}.csv,
        plots/evaluate/{errors.json,confusion_matrix.png,images/}, data/model/{README.md,detect.json} (the model card)
Run     dvc repro evaluate
"""

from pathlib import Path

from viadet.annotations.coco import category_names
from viadet.detection.detections import Detections, write_detections
from viadet.detection.detector import Detector, detect_data_set, detect_plain
from viadet.detection.settings import DetectSettings, write_settings
from viadet.evaluation.coco_metrics import evaluate_coco
from viadet.evaluation.confusion import CONFUSION_COLUMNS, confusion_rows, count_confusions
from viadet.evaluation.curves import curve_tables
from viadet.evaluation.error_kinds import analyse_errors, class_error_rows, error_rows
from viadet.evaluation.matches import Matches
from viadet.evaluation.model_card import write_model_card
from viadet.evaluation.summary import ap_figures, main_figures, read_test_split, summarise
from viadet.network.device import keep_freed_memory, train_device
from viadet.network.weights import load_network
from viadet.pictures.confusion_matrix import draw_confusion_matrix
from viadet.pictures.detections import draw_data_set
from viadet.pictures.drawing import save_figure
from viadet.project.errors import run_stage
from viadet.project.files import read_json, replaced_dir, write_csv, write_json
from viadet.project.metric_names import AP
from viadet.project.params import EvaluateParams, read_recipe

MODEL_DIR = Path("data/model")
COCO_DIR = Path("data/coco")
IMAGE_DIR = Path("data/raw")
START_PATH = Path("data/init/start.json")
DETECTIONS_PATH = Path("data/detections.json")
METRICS_PATH = Path("metrics/evaluate.json")
DETAILS_PATH = Path("metrics/evaluate_details.json")
PLOTS_DIR = Path("plots/evaluate")


def main() -> None:
    """Detect and measure, then write pictures, curves, detections, metrics and the model card."""
    keep_freed_memory()
    recipe = read_recipe()
    params, limit = recipe.evaluate, recipe.evaluate.max_detections
    settings = DetectSettings.of_recipe(recipe, read_json(COCO_DIR / "train.json"))
    coco, figures = read_json(COCO_DIR / "val.json"), {}
    test_coco = read_test_split(COCO_DIR / "test.json") if params.test_set else None
    detector = Detector(*load_network(MODEL_DIR, train_device(recipe.train), settings.test_wh), settings)
    detections, merged = detect_data_set(detector, coco, IMAGE_DIR)
    if params.test_time:
        figures |= ap_figures("views", coco, merged, limit)
    if test_coco:
        figures |= ap_figures("test", test_coco, detect_plain(detector, test_coco, IMAGE_DIR), limit)
    metrics = evaluate_coco(coco, detections, limit)
    figures |= summarise(metrics, params, recipe.train.seed)
    analysis = analyse_errors(coco, metrics.matches, params.score_threshold)
    confusions = count_confusions(coco, analysis)
    tables = curve_tables(coco, metrics, params.score_threshold)
    shown = detections, metrics.matches
    if has_tiles(settings):  # small objects are found there alone
        shown = merged, evaluate_coco(coco, merged, limit).matches
    save_pictures(coco, *shown, params)
    figure = draw_confusion_matrix(confusions, list(category_names(coco).values()))
    save_figure(figure, PLOTS_DIR / "confusion_matrix.png")
    tables |= {"errors_by_class": class_error_rows(coco, analysis)}
    for name, rows in tables.items():
        write_csv(PLOTS_DIR / f"{name}.csv", rows, list(rows[0]))
    write_csv(PLOTS_DIR / "confusion_matrix.csv", confusion_rows(coco, confusions), CONFUSION_COLUMNS)
    write_json(PLOTS_DIR / "errors.json", error_rows(analysis))
    write_detections(DETECTIONS_PATH, detections)
    write_json(METRICS_PATH, main_figures(figures))
    write_json(DETAILS_PATH, figures)
    write_model_card(MODEL_DIR, recipe, COCO_DIR, START_PATH, tables["by_class"], figures)
    write_settings(MODEL_DIR, settings)
    print_result(figures, detections, settings)


def print_result(figures: dict[str, float], detections: dict[int, Detections], settings: DetectSettings) -> None:
    """Say what AP is, and of what it is where the views have tiles."""
    print(f"{AP} {figures[AP]:.3f}; detections: {sum(map(len, detections.values()))}, images: {len(detections)}")
    if has_tiles(settings):
        print(f"views_{AP} {figures[f'views_{AP}']:.3f}, with tiles, as the pictures; all else is of whole photographs")


def has_tiles(settings: DetectSettings) -> bool:
    """Tell if the views have tiles of the photograph."""
    return settings.views is not None and settings.views.tiles > 1


def save_pictures(coco: dict, detections: dict[int, Detections], matches: Matches, params: EvaluateParams) -> None:
    """Draw the first images with these detections of at least the score threshold; the matches are of all of them."""
    with replaced_dir(PLOTS_DIR / "images") as folder:
        for name, figure in draw_data_set(coco, detections, matches.above(params.score_threshold), IMAGE_DIR, params):
            save_figure(figure, folder / name)


if __name__ == "__main__":
    run_stage(main, __doc__)
