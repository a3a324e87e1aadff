"""Areas, clipped polygons and masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viadet.images.polygons import clip_polygon, polygon_area, polygon_mask

SQUARE = np.array([(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0)])
WIDTH, HEIGHT = 60, 40


def test_the_area_does_not_depend_on_the_direction_of_the_outline():
    assert polygon_area(SQUARE) == polygon_area(SQUARE[::-1]) == 16


def test_a_polygon_inside_the_image_keeps_its_points():
    assert clip_polygon(SQUARE, 4, 4) is SQUARE


@pytest.mark.parametrize("offset", [(-1, 0), (1, 0), (0, -1), (0, 1)])
def test_a_polygon_is_cut_at_each_border(offset):
    clipped = clip_polygon(SQUARE + offset, 4, 4)
    assert polygon_area(clipped) == 12
    assert clipped.min() >= 0
    assert clipped.max() <= 4


def test_a_cut_neither_moves_the_other_points_nor_changes_their_order():
    triangle = np.array([(-2.0, 0.0), (2.0, 0.0), (2.0, 2.0)])
    # the edge from (-2, 0) to (2, 2) crosses the border at (0, 1)
    np.testing.assert_allclose(clip_polygon(triangle, 4, 4), [(0, 1), (0, 0), (2, 0), (2, 2)])
    np.testing.assert_allclose(clip_polygon(triangle[::-1], 4, 4), [(0, 1), (2, 2), (2, 0), (0, 0)])


@pytest.mark.parametrize("offset", [(9, 0), (4, 0), (4, 4)], ids=["beyond", "beside", "touching a corner"])
def test_nothing_is_left_of_a_polygon_outside(offset):
    assert clip_polygon(SQUARE + np.array(offset), 4, 4).shape == (0, 2)


def test_parts_follow_one_another_in_one_ring_without_further_area():
    comb = [
        (0, -5),
        (50, -5),
        (50, 9),
        (40, 9),
        (40, -1),
        (30, -1),
        (30, 8),
        (20, 8),
        (20, -1),
        (10, -1),
        (10, 7),
        (0, 7),
    ]
    clipped = clip_polygon(np.array(comb, float), WIDTH, HEIGHT)
    # three teeth, 10 px wide and 7, 8 and 9 px long
    assert polygon_area(clipped) == 10 * (7 + 8 + 9)
    assert (clipped.min(axis=0).tolist(), clipped.max(axis=0).tolist()) == ([0, 0], [50, 9])


def test_a_part_beyond_a_corner_does_not_stretch_the_box():
    # cutting at one border after the other would leave an edge along x = 0 from the hook above the image down to y = 0
    hook = [(-30, -20), (20, -20), (20, -10), (-20, -10), (-20, 10), (20, 10), (20, 30), (-30, 30)]
    clipped = clip_polygon(np.array(hook, float), WIDTH, HEIGHT)
    assert (clipped.min(axis=0).tolist(), clipped.max(axis=0).tolist()) == ([0, 10], [20, 30])


def test_an_outline_that_crosses_itself_and_has_a_spike_keeps_all_parts_with_an_area():
    # two triangles of 5 x 10 px that meet at (5, 5), the right one half beyond the border, and a line back and forth
    outline = [(0, 0), (10, 10), (10, 0), (0, 10), (-5, 10), (0, 10)]
    clipped = clip_polygon(np.array(outline, float), 7.5, HEIGHT)
    assert (clipped.min(axis=0).tolist(), clipped.max(axis=0).tolist()) == ([0, 0], [7.5, 10])
    assert polygon_area(clipped) == 25 + 2.5 * 2.5


def visible_points(polygon: np.ndarray) -> np.ndarray:
    """The ends of each edge's part inside the image, and the image's corners inside the polygon: they span the box."""
    points = []
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        low, high, step = 0.0, 1.0, end - start
        for axis, limit in ((0, WIDTH), (1, HEIGHT)):
            if step[axis] == 0:
                low = low if 0 <= start[axis] <= limit else 2.0
                continue
            crossings = sorted(((0 - start[axis]) / step[axis], (limit - start[axis]) / step[axis]))
            low, high = max(low, crossings[0]), min(high, crossings[1])
        points += [start + low * step, start + high * step] if low <= high else []
    for corner in np.array([(0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT)], float):
        (edge_x, edge_y), (x, y) = (np.roll(polygon, -1, axis=0) - polygon).T, (corner - polygon).T
        sides = edge_x * y - edge_y * x
        points += [corner] if (sides > 0).all() or (sides < 0).all() else []
    return np.array(points).reshape(-1, 2)


coordinates = st.floats(-40, 90, width=32)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=3))
def test_the_box_of_a_clipped_triangle_is_the_one_of_its_visible_part(corners):
    triangle = np.array(corners, float)
    clipped, visible = clip_polygon(triangle, WIDTH, HEIGHT), visible_points(triangle)
    if polygon_area(triangle) < 0.01 or len(clipped) == 0 or polygon_area(clipped) < 0.01:
        return  # so thin that rounding decides
    assert clipped.min() >= 0
    assert (clipped <= (WIDTH, HEIGHT)).all()
    np.testing.assert_allclose(clipped.min(axis=0), visible.min(axis=0), atol=1e-6)
    np.testing.assert_allclose(clipped.max(axis=0), visible.max(axis=0), atol=1e-6)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(coordinates | st.integers(-2, 2), coordinates | st.integers(-2, 2)), min_size=3, max_size=9))
def test_any_outline_can_be_clipped_even_if_it_crosses_itself(corners):
    clipped = clip_polygon(np.array(corners, float), WIDTH, HEIGHT)
    assert (clipped >= 0).all()
    assert (clipped <= (WIDTH, HEIGHT)).all()


def test_the_mask_of_a_polygon_ends_at_the_image():
    polygon = np.array([[-5.0, 2.0], [4.0, 2.0], [4.0, 50.0], [-5.0, 50.0]], np.float32)
    mask = polygon_mask(polygon, width=8, height=6)
    assert mask.dtype == bool
    assert mask.shape == (6, 8)
    assert mask[2:, :4].all()
    assert mask.sum() == 4 * 4
