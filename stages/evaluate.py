"""Measure the detector on the validation images and show its detections.

Reads   data/model/, data/coco/{train,val}.json (and test.json, if evaluate.test_set), data/raw/, data/init/start.json
Writes  data/detections.json (COCO results format), metrics/evaluate.json, metrics/evaluate_details.json (all figures),
        plots/evaluate/{precision_recall,ap_by_iou,by_image,by_class,errors_by_class,confusion_matrix}.csv,
        plots/evaluate/{errors.json,confusion_matrix.png,images/}, data/model/{README.md,detect.json} (the model card)
Run     dvc repro evaluate
"""

from pathlib import Path

from pycocotools.cocoeval import COCOeval

from viadet.annotations.coco import category_names
from viadet.evaluation.augmented_detection import detect_views
from viadet.evaluation.coco_metrics import run_cocoeval
from viadet.evaluation.confusion import confusion_matrix, confusion_rows
from viadet.evaluation.curves import curve_tables
from viadet.evaluation.detect_settings import DetectSettings, write_settings
from viadet.evaluation.error_kinds import analyse_errors, class_error_rows, error_rows
from viadet.evaluation.matching import MatchCounts, count_matches, matched_annotations
from viadet.evaluation.model_card import CardFacts, write_model_card
from viadet.evaluation.summary import ap_figures, main_figures, read_test_split, summarise
from viadet.network.detect import detect_coco
from viadet.network.device import keep_freed_memory, train_device
from viadet.network.results import Results, write_results
from viadet.network.weights import WEIGHTS_NAME, load_network
from viadet.pictures.confusion_matrix import draw_confusion_matrix
from viadet.pictures.detections import draw_data_set
from viadet.pictures.drawing import save_figure
from viadet.project.errors import run_stage
from viadet.project.files import read_json, replaced_dir, sha256_of, write_csv, write_json
from viadet.project.metric_names import AP
from viadet.project.params import EvaluateParams, Recipe, read_recipe, read_recipe_name

MODEL_DIR = Path("data/model")
TRAIN_PATH = Path("data/coco/train.json")
COCO_PATH = Path("data/coco/val.json")
TEST_PATH = Path("data/coco/test.json")
IMAGE_DIR = Path("data/raw")
START_PATH = Path("data/init/start.json")
DETECTIONS_PATH = Path("data/detections.json")
METRICS_PATH = Path("metrics/evaluate.json")
DETAILS_PATH = Path("metrics/evaluate_details.json")
PLOTS_DIR = Path("plots/evaluate")


def write_pictures(coco: dict, results: Results, counts: dict[int, MatchCounts], params: EvaluateParams) -> None:
    """Draw the first images: ground truth beside the detections of at least the score threshold."""
    with replaced_dir(PLOTS_DIR / "images") as folder:
        for name, figure in draw_data_set(coco, results, counts, IMAGE_DIR, params):
            save_figure(figure, folder / name)


def write_tables(tables: dict[str, list[dict]]) -> None:
    """Write curves and tables, by the name of their files."""
    for name, rows in tables.items():
        write_csv(PLOTS_DIR / f"{name}.csv", rows, list(rows[0]))


def write_errors(coco: dict, results: Results, evaluation: COCOeval, score_threshold: float) -> None:
    """Write the kinds of errors, overall and by class, and which classes are taken for which."""
    analysis = analyse_errors(coco, results, matched_annotations(evaluation), score_threshold)
    write_json(PLOTS_DIR / "errors.json", error_rows(analysis))
    matrix = confusion_matrix(coco, results, score_threshold)
    tables = {"errors_by_class": class_error_rows(coco, analysis), "confusion_matrix": confusion_rows(coco, matrix)}
    write_tables(tables)
    save_figure(draw_confusion_matrix(matrix, list(category_names(coco).values())), PLOTS_DIR / "confusion_matrix.png")


def write_card_and_settings(recipe: Recipe, class_rows: list[dict], metrics: dict[str, float]) -> None:
    """Write beside the weights the model card, and the settings with which its figures were measured."""
    splits = {path.stem: read_json(path) for path in (TRAIN_PATH, COCO_PATH, TEST_PATH) if path.exists()}
    digest = sha256_of(MODEL_DIR / WEIGHTS_NAME)
    facts = CardFacts(read_recipe_name(), recipe, read_json(START_PATH), splits, class_rows, metrics, digest)
    write_model_card(MODEL_DIR, facts)
    write_settings(MODEL_DIR, DetectSettings.of_recipe(recipe))


def main() -> None:
    """Detect and measure, then write pictures, curves, detections, metrics and the model card."""
    keep_freed_memory()
    recipe = read_recipe()
    params, limit = recipe.evaluate, recipe.evaluate.max_detections
    device = train_device(recipe.train)
    network, spec = load_network(MODEL_DIR, device, recipe.model.test_wh)
    coco, metrics = read_json(COCO_PATH), {}
    if params.test_time:
        merged = detect_views(MODEL_DIR, coco, IMAGE_DIR, params.test_time, recipe.model.test_wh, device, limit)
        metrics |= ap_figures("views", coco, merged, limit)
    if params.test_set:
        test_coco = read_test_split(TEST_PATH)
        metrics |= ap_figures("test", test_coco, detect_coco(network, spec, test_coco, IMAGE_DIR, device, limit), limit)
    results = detect_coco(network, spec, coco, IMAGE_DIR, device, limit)
    write_results(DETECTIONS_PATH, results)
    evaluation = run_cocoeval(coco, results, limit)
    counts = count_matches(evaluation, params.score_threshold)
    metrics |= summarise(evaluation, counts, params.bootstrap, recipe.train.seed)
    tables = curve_tables(coco, evaluation, counts, params.score_threshold)

    write_pictures(coco, results, counts, params)
    write_tables(tables)
    write_errors(coco, results, evaluation, params.score_threshold)
    write_json(METRICS_PATH, main_figures(metrics))
    write_json(DETAILS_PATH, metrics)
    write_card_and_settings(recipe, tables["by_class"], metrics)
    print(f"{AP} {metrics[AP]:.3f}; detections: {len(results)}, images: {len(coco['images'])}")


if __name__ == "__main__":
    run_stage(main, __doc__)
