import numpy as np
import pytest

from viadet.sample.polygons import clip_polygon, polygon_area

SQUARE = np.array([(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0)])


def test_the_area_does_not_depend_on_the_direction_of_the_outline():
    assert polygon_area(SQUARE) == polygon_area(SQUARE[::-1]) == 16


def test_a_polygon_inside_the_image_keeps_its_points():
    np.testing.assert_array_equal(sorted(clip_polygon(SQUARE, 4, 4).tolist()), sorted(SQUARE.tolist()))


@pytest.mark.parametrize("offset", [(-1, 0), (1, 0), (0, -1), (0, 1)])
def test_a_polygon_is_cut_at_each_border(offset):
    clipped = clip_polygon(SQUARE + offset, 4, 4)
    assert polygon_area(clipped) == 12
    assert clipped.min() >= 0
    assert clipped.max() <= 4


def test_a_cut_does_not_move_the_other_points():
    triangle = np.array([(-2.0, 0.0), (2.0, 0.0), (2.0, 2.0)])
    # the edge from (-2, 0) to (2, 2) enters the image at (0, 1)
    np.testing.assert_allclose(sorted(clip_polygon(triangle, 4, 4).tolist()), [[0, 0], [0, 1], [2, 0], [2, 2]])


def test_nothing_is_left_of_a_polygon_outside():
    assert clip_polygon(SQUARE + np.array([9, 0]), 4, 4).shape == (0, 2)
