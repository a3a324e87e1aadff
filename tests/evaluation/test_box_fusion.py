"""Weighted boxes fusion by hand-made boxes."""

import numpy as np
import pytest
from viadet.evaluation.box_fusion import fuse_boxes


def fuse(rows, asked=2):
    """Fuse rows of (x0, y0, x1, y1, score, view)."""
    data = np.array(rows, dtype=float).reshape(-1, 6)
    boxes_xyxy, scores = fuse_boxes(data[:, :4], data[:, 4], data[:, 5].astype(int), lambda box_xyxy: asked)
    return boxes_xyxy.tolist(), scores.tolist()


def test_boxes_that_agree_become_their_mean_by_score_and_the_mean_of_their_scores():
    boxes_xyxy, scores = fuse([(0, 0, 10, 10, 0.9, 0), (2, 0, 12, 10, 0.3, 1)])
    assert boxes_xyxy == [pytest.approx([0.5, 0, 10.5, 10])]
    assert scores == [pytest.approx(0.6)]


def test_a_box_that_one_of_two_views_finds_has_half_its_score():
    boxes_xyxy, scores = fuse([(0, 0, 10, 10, 0.9, 0), (50, 0, 60, 10, 0.8, 1), (50, 0, 60, 10, 0.6, 0)])
    assert boxes_xyxy == [pytest.approx([50, 0, 60, 10]), [0, 0, 10, 10]]
    assert scores == [pytest.approx(0.7), pytest.approx(0.45)]


def test_views_that_were_not_asked_do_not_lower_the_score():
    assert fuse([(0, 0, 10, 10, 0.9, 0)], asked=1)[1] == [pytest.approx(0.9)]
    # its fused box has grown out of the sizes that any view is asked about
    assert fuse([(0, 0, 10, 10, 0.9, 0)], asked=0)[1] == [pytest.approx(0.9)]


def test_two_boxes_of_one_view_count_once():
    assert fuse([(0, 0, 10, 10, 0.8, 0), (1, 0, 11, 10, 0.8, 0)])[1] == [pytest.approx(0.4)]


def test_boxes_without_area_join_no_other_box():
    """Rounded to 0.01 px, a box in an image of very few px can have none."""
    rows = [(5, 5, 5, 8, 0.9, 0), (5, 5, 5, 8, 0.8, 1), (0, 0, 10, 10, 0.7, 0), (0, 0, 10, 10, 0.6, 1)]
    boxes_xyxy, scores = fuse(rows)
    assert boxes_xyxy == [pytest.approx([0, 0, 10, 10]), [5, 5, 5, 8], [5, 5, 5, 8]]
    assert scores == [pytest.approx(0.65), pytest.approx(0.45), pytest.approx(0.4)]


def test_a_box_joins_the_fused_box_that_it_overlaps_most():
    rows = [(0, 0, 10, 10, 0.9, 0), (4, 0, 14, 10, 0.8, 0), (3, 0, 13, 10, 0.5, 1)]
    boxes_xyxy, _ = fuse(rows)
    assert boxes_xyxy[0] == pytest.approx([(4 * 0.8 + 3 * 0.5) / 1.3, 0, (14 * 0.8 + 13 * 0.5) / 1.3, 10])
    assert boxes_xyxy[1] == [0, 0, 10, 10]


def test_nothing_gives_nothing():
    assert fuse([]) == ([], [])


def test_boxes_join_above_the_iou_of_the_authors():
    # Boxes 10 px wide, moved by d px: their IoU is (10 - d) / (10 + d), 0.55 at 2.903 px.
    assert len(fuse([(0, 0, 10, 10, 0.9, 0), (2.90, 0, 12.90, 10, 0.9, 1)])[0]) == 1
    assert len(fuse([(0, 0, 10, 10, 0.9, 0), (2.91, 0, 12.91, 10, 0.9, 1)])[0]) == 2
