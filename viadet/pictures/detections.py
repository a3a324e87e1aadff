"""Pictures of detections: of evaluated images beside their ground truth, of other images alone."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viadet.annotations.coco import boxes_xyxy_of, by_image, category_names
from viadet.detection.detections import Detections
from viadet.evaluation.matches import MatchCounts, Matches
from viadet.images.pixels import read_image
from viadet.pictures.classes import class_colours, class_names
from viadet.pictures.drawing import (
    DETECTION,
    DPI,
    GROUND_TRUTH,
    cell_wh_inches,
    draw_boxes,
    new_figure,
    picture_names,
    save_figure,
    show_image,
)
from viadet.project.params import EvaluateParams

CELL_WIDTH_INCHES = 6
MAX_CELL_HEIGHT_INCHES = 12  # a tall image gets a narrower cell
PREDICTION_SIDE_PX = 1024  # the longer one, of a photograph without ground truth


def draw_data_set(
    coco: dict,
    detections: Mapping[int, Detections],
    matches: Matches,
    image_dir: Path,
    params: EvaluateParams,
) -> Iterator[tuple[str, Figure]]:
    """Draw the first images with their detections of at least the score threshold; yields a file name with each.

    Args:
        coco: ground truth.
        detections: by image id.
        matches: of the detections of at least the score threshold.
        image_dir: folder that the data set's file names are relative to.
        params: score threshold and number of images.
    """
    names, file_names = category_names(coco), picture_names(coco)
    annotations = by_image(coco["annotations"])
    counts, found_ids = matches.counts_by_image(), set(matches.hits_50.tolist())
    for entry in coco["images"][: params.max_images]:
        id_, size_wh = entry["id"], (entry["width"], entry["height"])
        # a large photograph in full would take most of the time and memory of its picture
        image = read_image(image_dir / entry["file_name"], round(DPI * _longer_side_inches(size_wh)))
        shown = detections[id_].above(params.score_threshold)
        yield file_names[id_], draw_image(image, size_wh, annotations[id_], found_ids, shown, counts[id_], names)


def draw_image(
    image: torch.Tensor,
    size_wh: tuple[int, int],
    annotations: list[dict],
    found_ids: set[int],
    detections: Detections,
    counts: MatchCounts,
    names: dict[int, str],
) -> Figure:
    """Draw an image twice: with its ground truth on the left, with its detections and missed objects on the right.

    If there is only one category, scores stand alone and colours tell detections from ground truth; if there are
    several, each has its colour.

    Args:
        image: uint8 [3, H, W], perhaps reduced.
        size_wh: px of the original image.
        annotations: in COCO format, boxes in px of the original image.
        found_ids: of the annotations, in all images, that are not missed.
        detections: in px of the original image.
        counts: for the title.
        names: of the categories, by id.
    """
    figure, (left, right) = new_figure(2, 1, cell_wh_inches(image, _longer_side_inches(size_wh)))
    show_image(left, image, f"ground truth: {len(annotations)}", size_wh)
    _draw_objects(left, annotations, names)

    missed = [annotation for annotation in annotations if annotation["id"] not in found_ids]
    title = f"{counts.true_positives} right, {counts.false_positives} wrong, {counts.missed} missed"
    show_image(right, image, f"detections: {title}{' (dashed)' if missed else ''}", size_wh)
    _draw_objects(right, missed, names, dashed=True)
    _draw_detections(right, detections)
    return figure


def _longer_side_inches(size_wh: tuple[int, int]) -> float:
    """Compute the longer side of the cell of an image of `size_wh` px."""
    width, height = size_wh
    return min(MAX_CELL_HEIGHT_INCHES, CELL_WIDTH_INCHES * max(1.0, height / width))


def _draw_objects(ax: Axes, annotations: list[dict], names: dict[int, str], dashed: bool = False) -> None:
    """Draw annotated boxes over an image, each with its class, or dashed without it."""
    labels = [annotation["category_id"] for annotation in annotations]
    colours, boxes_xyxy = class_colours(labels, names, GROUND_TRUTH), boxes_xyxy_of(annotations)
    if dashed:
        draw_boxes(ax, boxes_xyxy, colours, line_width=1.2, dashed=True)
    else:
        draw_boxes(ax, boxes_xyxy, colours, [names[label] for label in labels])


def save_prediction(image: np.ndarray, name: str, size_wh: tuple[int, int], detections: Detections, path: Path) -> None:
    """Draw an image, uint8 [3, H, W], perhaps reduced from `size_wh` px, with its detections into a new JPEG."""
    photograph = torch.from_numpy(image)
    figure, (ax,) = new_figure(1, 1, cell_wh_inches(photograph, PREDICTION_SIDE_PX / DPI))
    show_image(ax, photograph, f"{name}, detections: {len(detections)}", size_wh)
    _draw_detections(ax, detections)
    save_figure(figure, path, flush=False)


def _draw_detections(ax: Axes, detections: Detections) -> None:
    """Draw detections over an image, each with its score, and with its class if there are several."""
    names, labels = dict(enumerate(detections.categories, start=1)), detections.labels.tolist()
    colours, scores = class_colours(labels, names, DETECTION), detections.scores.tolist()
    draw_boxes(ax, detections.boxes_xyxy, colours, class_names(labels, names), scores)
