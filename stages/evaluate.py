"""Measure the detector on the validation images and show its detections.

Reads   data/model/, data/coco/val.json, data/raw/val/
Writes  data/detections.json (COCO results format), metrics/evaluate.json,
        plots/evaluate/{precision_recall,ap_by_iou,by_image}.csv, plots/evaluate/errors.json,
        plots/evaluate/images/ (ground truth beside detections)
Run     dvc repro evaluate
"""

from pathlib import Path

import numpy as np
from pycocotools.cocoeval import COCOeval

from stages.detection.cli import run_stage
from stages.detection.coco import boxes_xyxy_of, by_image
from stages.detection.detect import detect_coco
from stages.detection.drawing import (
    DETECTION,
    GROUND_TRUTH,
    draw_boxes,
    new_figure,
    picture_path,
    save_figure,
    show_image,
)
from stages.detection.errors import error_rows
from stages.detection.files import read_json, replaced_dir, write_csv, write_json
from stages.detection.images import read_image
from stages.detection.network import keep_freed_memory, load_network, pick_device
from stages.detection.params import read_recipe
from stages.detection.resampling import ap_interval, ap_of_images
from stages.detection.scoring import (
    Matches,
    coco_stats,
    map_with_ids_from_0,
    matched_annotations,
    matches_by_image,
    precision_recall_f1,
    precision_recall_rows,
    run_cocoeval,
)
from stages.detection.test_time import detect_views

MODEL_DIR = Path("data/model")
COCO_PATH = Path("data/coco/val.json")
IMAGE_DIR = Path("data/raw")
DETECTIONS_PATH = Path("data/detections.json")
METRICS_PATH = Path("metrics/evaluate.json")
PLOTS_DIR = Path("plots/evaluate")
CURVE_IOUS = (0.5, 0.75, 0.9)
DECIMALS = 3  # one object more or less, found on a few dozen images, changes the second


def draw_pictures(coco: dict, results: list[dict], matches: dict[int, Matches], folder: Path) -> None:
    """Draw ground truth beside detections, one picture an image, all boxes in px of the original image."""
    names = {category["id"]: category["name"] for category in coco["categories"]}
    one_category = len(names) == 1
    truths, founds = by_image(coco["annotations"]), by_image(results)
    for image in coco["images"]:
        truth, found = truths[image["id"]], founds[image["id"]]
        pixels = read_image(IMAGE_DIR / image["file_name"])
        count = matches[image["id"]]
        figure, (left, right) = new_figure(columns=2, rows=1, cell_wh_inches=(6, 6 * image["height"] / image["width"]))
        show_image(left, pixels, f"ground truth: {len(truth)}")
        draw_boxes(left, boxes_xyxy_of(truth), GROUND_TRUTH, [names[t["category_id"]] for t in truth])
        show_image(
            right,
            pixels,
            f"detections: {count.true_positives} right, {count.false_positives} wrong, {count.missed} missed",
        )
        labels = ["" if one_category else names[result["category_id"]] + " " for result in found]
        labels = [f"{label}{result['score']:.2f}" for label, result in zip(labels, found, strict=True)]
        draw_boxes(right, boxes_xyxy_of(found), DETECTION, labels)
        save_figure(figure, picture_path(folder, image["file_name"]))


def ap_by_iou_rows(evaluation: COCOeval) -> list[dict[str, float]]:
    """AP, and recall with at most 100 detections an image, at each of COCO's IoU thresholds; means over categories."""
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # [10 IoUs, 101 recalls, categories]; -1: no ground truth
    recall = evaluation.eval["recall"][:, :, 0, -1]  # [10 IoUs, categories]
    with_objects = (recall[0] >= 0) if recall.size else np.zeros(0, bool)
    return [
        {
            "iou": float(iou),
            "AP": float(precision[i][:, with_objects].mean()) if with_objects.any() else 0.0,
            "recall": float(recall[i][with_objects].mean()) if with_objects.any() else 0.0,
        }
        for i, iou in enumerate(evaluation.params.iouThrs)
    ]


def image_rows(coco: dict, evaluation: COCOeval, matches: dict[int, Matches]) -> list[dict]:
    """AP of each image alone, lowest first, and what was found in it."""
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    rows = [
        {"image": names[image_id], "AP": round(ap_of_images(evaluation, np.array([index])), DECIMALS)}
        | {"objects": matches[image_id].true_positives + matches[image_id].missed}
        | {"right": matches[image_id].true_positives, "wrong": matches[image_id].false_positives}
        for index, image_id in enumerate(evaluation.params.imgIds)
    ]
    return sorted(rows, key=lambda row: row["AP"])


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
        draw_pictures(drawn, [r for r in results if r["score"] >= threshold], matches, folder)
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
