"""Ground truth beside detections."""

from dataclasses import replace

import pytest
import torch
from matplotlib.colors import to_rgba

from viadet.detection.detections import Detections
from viadet.evaluation.matches import MatchCounts
from viadet.pictures.detections import draw_image
from viadet.pictures.drawing import GROUND_TRUTH

IMAGE = torch.zeros(3, 30, 45, dtype=torch.uint8)  # reduced from
SIZE_WH = (90, 60)
ANNOTATIONS = [
    {"id": 7, "category_id": 1, "bbox": [5, 6, 20, 30]},
    {"id": 8, "category_id": 2, "bbox": [40, 10, 30, 30]},
]
RESULTS = [{"category_id": 2, "bbox": [41, 11, 30, 30], "score": 0.876}]


def drawn(annotations, results, counts, names, found_ids=(7, 8)):
    detections = replace(Detections.from_rows(results), categories=tuple(names.values()))
    return draw_image(IMAGE, SIZE_WH, annotations, {*found_ids}, detections, counts, names)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_boxes_stand_where_coco_says_with_the_counts_in_the_title():
    left, right = drawn(ANNOTATIONS, RESULTS, MatchCounts(1, 1, 0), {1: "balloon", 2: "kite"}).axes
    assert left.get_title() == "ground truth: 2"
    assert right.get_title() == "detections: 1 right, 1 wrong, 0 missed"
    assert [patch.get_bbox().bounds for patch in left.patches] == [(5, 6, 20, 30), (40, 10, 30, 30)]
    assert [patch.get_bbox().bounds for patch in right.patches] == [(41, 11, 30, 30)]
    assert left.images[0].get_extent() == right.images[0].get_extent() == [0, 90, 60, 0]


def test_missed_objects_are_dashed_among_the_detections():
    names = {1: "balloon", 2: "kite"}
    left, right = drawn(ANNOTATIONS, RESULTS, MatchCounts(1, 0, 1), names, found_ids=[8]).axes
    assert right.get_title() == "detections: 1 right, 0 wrong, 1 missed (dashed)"
    missed, found = right.patches
    assert (missed.get_bbox().bounds, found.get_bbox().bounds) == ((5, 6, 20, 30), (41, 11, 30, 30))
    assert [patch.get_linestyle() for patch in (*left.patches, missed, found)] == ["-", "-", "--", "-"]
    assert missed.get_edgecolor() == left.patches[0].get_edgecolor()
    assert texts(right) == ["kite 0.88"]


def test_categories_are_named_only_if_there_are_several():
    left, right = drawn(ANNOTATIONS, RESULTS, MatchCounts(1, 0, 1), {1: "balloon", 2: "kite"}).axes
    assert texts(left) == ["balloon", "kite"]
    assert texts(right) == ["kite 0.88"]
    results = [result | {"category_id": 1} for result in RESULTS]
    left, right = drawn(ANNOTATIONS[:1], results, MatchCounts(0, 1, 1), {1: "balloon"}).axes
    assert texts(left) == ["balloon"]
    assert texts(right) == ["0.88"]


def test_of_several_classes_each_has_its_colour_on_both_sides():
    names = {1: "balloon", 2: "kite"}
    left, right = drawn(ANNOTATIONS, RESULTS, MatchCounts(1, 0, 1), names).axes
    balloon, kite = (patch.get_edgecolor() for patch in left.patches)
    assert [patch.get_edgecolor() for patch in right.patches] == [kite]
    assert balloon != kite
    left, right = drawn(ANNOTATIONS[:1], RESULTS[:0], MatchCounts(0, 0, 1), {1: "balloon"}).axes
    assert left.patches[0].get_edgecolor() == to_rgba(GROUND_TRUTH)


def test_both_cells_have_the_proportions_of_the_image():
    figure = drawn([], [], MatchCounts(0, 0, 0), {1: "balloon"})
    for ax in figure.axes:
        _, _, width, height = ax.get_position(original=True).bounds
        figure_width, figure_height = figure.get_size_inches()
        assert (width * figure_width) / (height * figure_height) == pytest.approx(90 / 60)
