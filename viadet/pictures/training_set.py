"""Pictures of the training set: photographs as annotated, and the network's inputs after augmentation."""

import torch
from matplotlib.figure import Figure

from viadet.augmentation.objects import IGNORED, Sample, Scene
from viadet.pictures.classes import class_colours, class_names
from viadet.pictures.drawing import GROUND_TRUTH, draw_boxes, draw_polygons, new_figure, show_image

COLUMNS, ROWS = 4, 2
CELL_WH_INCHES = (4, 4)
IGNORED_COLOUR = "lightgrey"


def draw_training_set(scenes: list[Scene], names: dict[int, str]) -> Figure:
    """Draw at most COLUMNS * ROWS photographs with polygons and boxes around them, and classes if there are several."""
    figure, axes = new_figure(COLUMNS, ROWS, CELL_WH_INCHES)
    for ax, scene in zip(axes, scenes, strict=False):
        boxes_xyxy = [torch.cat([polygon.amin(0), polygon.amax(0)]) for polygon in scene.polygons]
        show_image(ax, scene.image)
        colours = class_colours(scene.labels, names, GROUND_TRUTH)
        draw_polygons(ax, scene.polygons, colours)
        boxes_xyxy = torch.stack(boxes_xyxy) if boxes_xyxy else torch.zeros(0, 4)
        draw_boxes(ax, boxes_xyxy, colours, class_names(scene.labels, names))
    return figure


def draw_augmented(samples: list[Sample], names: dict[int, str]) -> Figure:
    """Draw at most COLUMNS * ROWS augmented network inputs, with the boxes to learn and those to ignore."""
    figure, axes = new_figure(COLUMNS, ROWS, CELL_WH_INCHES)
    for ax, sample in zip(axes, samples, strict=False):
        show_image(ax, sample.image)
        is_learnt = sample.labels != IGNORED
        draw_boxes(ax, sample.boxes_xyxy[~is_learnt], IGNORED_COLOUR, line_width=1.0)
        labels, boxes_xyxy = sample.labels[is_learnt].tolist(), sample.boxes_xyxy[is_learnt]
        draw_boxes(ax, boxes_xyxy, class_colours(labels, names, GROUND_TRUTH), class_names(labels, names))
    return figure
