"""Pictures of evaluated images: ground truth beside detections."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure

from viadet.annotations.coco import by_image, category_names
from viadet.evaluation.matching import MatchCounts
from viadet.images.pixels import read_image
from viadet.network.boxes import boxes_xyxy_of
from viadet.pictures.classes import class_colours, class_names
from viadet.pictures.drawing import DETECTION, DPI, GROUND_TRUTH, draw_boxes, new_figure, picture_names, show_image
from viadet.project.params import EvaluateParams

CELL_WIDTH_INCHES = 6


def draw_data_set(
    coco: dict, results: Sequence[dict], counts: dict[int, MatchCounts], image_dir: Path, params: EvaluateParams
) -> Iterator[tuple[str, Figure]]:
    """Draw the first images with the detections of at least the score threshold; yields a file name with each.

    Args:
        coco: ground truth.
        results: all detections in COCO results format.
        counts: by image id, from `count_matches`.
        image_dir: folder that the data set's file names are relative to.
        params: score threshold and number of images.
    """
    names, file_names = category_names(coco), picture_names(coco)
    annotations = by_image(coco["annotations"])
    results_by_image = by_image([result for result in results if result["score"] >= params.score_threshold])
    for entry in coco["images"][: params.max_images]:
        id_, size_wh = entry["id"], (entry["width"], entry["height"])
        # a large photograph in full would take most of the time and memory of its picture
        max_side = round(CELL_WIDTH_INCHES * DPI * max(size_wh) / entry["width"])
        image = read_image(image_dir / entry["file_name"], max_side)
        objects, detections = annotations[id_], results_by_image[id_]
        yield file_names[id_], draw_detections(image, size_wh, objects, detections, counts[id_], names)


def draw_detections(
    image: torch.Tensor,
    size_wh: tuple[int, int],
    annotations: list[dict],
    results: list[dict],
    counts: MatchCounts,
    names: dict[int, str],
) -> Figure:
    """Draw an image twice: with its ground truth on the left, with its detections on the right.

    Args:
        image: uint8 [3, H, W], perhaps reduced.
        size_wh: px of the original image.
        annotations: of the image, in COCO format, boxes in px of the original image.
        results: of the image, in COCO results format, likewise.
        counts: of true positives, false positives and missed objects, for the title.
        names: of the categories, by id. If there is only one, scores stand alone and colours tell detections from
            ground truth; if there are several, each has its colour.
    """
    width, height = size_wh
    cell_wh_inches = (CELL_WIDTH_INCHES, CELL_WIDTH_INCHES * height / width)
    figure, (left, right) = new_figure(columns=2, rows=1, cell_wh_inches=cell_wh_inches)
    show_image(left, image, f"ground truth: {len(annotations)}", size_wh)
    labels = [annotation["category_id"] for annotation in annotations]
    colours = class_colours(labels, names, GROUND_TRUTH)
    draw_boxes(left, boxes_xyxy_of(annotations), colours, [names[label] for label in labels])

    title = f"{counts.true_positives} right, {counts.false_positives} wrong, {counts.missed} missed"
    show_image(right, image, f"detections: {title}", size_wh)
    labels = [result["category_id"] for result in results]
    prefixes = class_names(labels, names) or [""] * len(results)
    texts = [f"{prefix} {result['score']:.2f}".lstrip() for prefix, result in zip(prefixes, results, strict=True)]
    draw_boxes(right, boxes_xyxy_of(results), class_colours(labels, names, DETECTION), texts)
    return figure
