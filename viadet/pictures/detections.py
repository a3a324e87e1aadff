"""Ground truth beside detections."""

from pathlib import Path

from viadet.annotations.coco import by_image
from viadet.evaluation.matching import Matches
from viadet.images.pixels import read_image
from viadet.network.boxes import boxes_xyxy_of
from viadet.pictures.drawing import (
    DETECTION,
    GROUND_TRUTH,
    draw_boxes,
    new_figure,
    picture_path,
    save_figure,
    show_image,
)


def draw_pictures(coco: dict, image_dir: Path, results: list[dict], matches: dict[int, Matches], folder: Path) -> None:
    """Draw ground truth beside detections, one picture an image, all boxes in px of the original image."""
    names = {category["id"]: category["name"] for category in coco["categories"]}
    one_category = len(names) == 1
    truths, founds = by_image(coco["annotations"]), by_image(results)
    for image in coco["images"]:
        truth, found = truths[image["id"]], founds[image["id"]]
        pixels = read_image(image_dir / image["file_name"])
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
