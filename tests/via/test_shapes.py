"""The shapes of VIA regions: exact boxes, and why a shape gives none."""

import math

import numpy as np
import pytest
from annotations.via_files import SQUARE
from projects import polygon

from viadet.annotations.coco import box_and_outline
from viadet.via.images import UnusableError
from viadet.via.shapes import clip_outline, outline_of

QUARTER = math.pi / 2
# An ellipse turned by 45 degrees reaches sqrt((rx² + ry²) / 2) px to each side.
REACH = math.sqrt((40**2 + 20**2) / 2)


def polyline(*points: tuple[float, float]) -> dict:
    return polygon(*points) | {"name": "polyline"}


def region(shape) -> dict:
    return {"shape_attributes": shape, "region_attributes": {}}


def test_a_polygon_keeps_its_points():
    assert outline_of(region(SQUARE)) == [(10, 20), (50, 20), (50, 80), (10, 80)]


@pytest.mark.parametrize(
    ("shape", "box_xywh"),
    [
        ({"name": "rect", "x": 5, "y": 6, "width": 30, "height": 20}, [5, 6, 30, 20]),
        ({"name": "circle", "cx": 50, "cy": 50, "r": 20}, [30, 30, 40, 40]),
        ({"name": "ellipse", "cx": 100, "cy": 50, "rx": 40, "ry": 10}, [60, 40, 80, 20]),
        ({"name": "ellipse", "cx": 100, "cy": 50, "rx": 40, "ry": 10, "theta": QUARTER}, [90, 10, 20, 80]),
        (
            {"name": "ellipse", "cx": 100, "cy": 50, "rx": 40, "ry": 20, "theta": QUARTER / 2},
            [100 - REACH, 50 - REACH, 2 * REACH, 2 * REACH],
        ),
    ],
)
def test_rectangles_circles_and_ellipses_have_exact_boxes(shape, box_xywh):
    np.testing.assert_allclose(box_and_outline(outline_of(region(shape)))["bbox"], box_xywh, atol=1e-9)


def test_the_outline_of_a_turned_ellipse_lies_on_it():
    theta = 0.7
    shape = {"name": "ellipse", "cx": 9, "cy": 5, "rx": 40, "ry": 10, "theta": theta}
    x, y = (np.array(outline_of(region(shape))) - (9, 5)).T
    along, across = x * np.cos(theta) + y * np.sin(theta), y * np.cos(theta) - x * np.sin(theta)
    np.testing.assert_allclose((along / 40) ** 2 + (across / 10) ** 2, 1)


BAD_SHAPES = {
    "is a polygon of 2 points, expected at least 3": polygon((1, 1), (5, 5)),
    "has 3 x and 2 y coordinates": {"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1, 2]},
    "has '7' in all_points_x, expected a number": {"name": "polygon", "all_points_x": ["7"], "all_points_y": [1]},
    "has True in all_points_y, expected a number": {"name": "polygon", "all_points_x": [7], "all_points_y": [True]},
    "has nan in all_points_y, which is beyond any image": {
        "name": "polygon",
        "all_points_x": [7],
        "all_points_y": [math.nan],
    },
    "has 1000000000.0 in x, which is beyond any image": {"name": "rect", "x": 1e9, "y": 2, "width": 3, "height": 3},
    "has 7 in all_points_x, expected a list": {"name": "polygon", "all_points_x": 7, "all_points_y": [1]},
    "is a point, which has no area": {"name": "point", "cx": 1, "cy": 2},
    "is a line, which has no area": {"name": "line", "all_points_x": [1, 2], "all_points_y": [1, 2]},
    "has no shape": {},
    "is a [1], which is not a shape of VIA": {"name": [1]},
    "is a polyline of 2 points, expected at least 3": polyline((1, 1), (5, 5)),
    "is an open polyline, its ends are 40 px apart": polyline((0, 0), (40, 0), (40, 40), (0, 40)),
    "is a extreme_rectangle of 2 points": {"name": "extreme_rectangle", "all_points_x": [1, 2], "all_points_y": [1, 2]},
    "is a circle through 2 points, expected 3": {
        "name": "extreme_circle",
        "all_points_x": [1, 2],
        "all_points_y": [1, 2],
    },
    "is a circle through 3 points on one line": {
        "name": "extreme_circle",
        "all_points_x": [1, 2, 3],
        "all_points_y": [1, 2, 3],
    },
    "has None in width, expected a number": {"name": "rect", "x": 1, "y": 2, "height": 3},
    "has -3 in width, expected more than 0 px": {"name": "rect", "x": 9, "y": 2, "width": -3, "height": 3},
    "has 0 in r, expected more than 0 px": {"name": "circle", "cx": 9, "cy": 9, "r": 0},
    "has no shape_attributes": None,
}


@pytest.mark.parametrize("reason", BAD_SHAPES)
def test_a_shape_without_an_outline_is_refused_with_the_reason(reason):
    with pytest.raises(UnusableError) as error:
        outline_of(region(BAD_SHAPES[reason]))
    assert str(error.value).startswith(reason)


def test_a_region_that_is_not_an_object_is_refused():
    with pytest.raises(UnusableError, match="has no shape_attributes"):
        outline_of("text")


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (None, "no shape"),
        ({"name": "point", "cx": 1, "cy": 2}, "point"),
        ({"name": "line"}, "line"),
        ({"name": "blob"}, "unknown shape"),
        (polyline((0, 0), (40, 0), (40, 40), (0, 40)), "open polyline"),
        (polygon((1, 1), (5, 5)), "too few points"),
        ({"name": "circle", "cx": 1, "cy": 2, "r": "3"}, "bad number"),
        ({"name": "circle", "cx": 1, "cy": 2, "r": 0}, "no area"),
    ],
)
def test_faults_of_one_kind_have_one_reason(shape, reason):
    with pytest.raises(UnusableError) as error:
        outline_of(region(shape))
    assert error.value.reason == reason


NEARLY_CLOSED = [(0, 0), (40, 0), (40, 40), (0, 40), (0, 7)]  # 153 px long, its ends are 7 px apart
OPEN = [(0, 0), (40, 0), (40, 40), (0, 40), (0, 8)]  # 152 px long, its ends are 8 px apart


@pytest.mark.parametrize(
    ("points", "polyline_param", "is_outline"),
    [
        (NEARLY_CLOSED, "nearly_closed", True),
        ([*OPEN, (0, 0)], "nearly_closed", True),
        (OPEN, "nearly_closed", False),
        (OPEN, "always", True),
        (NEARLY_CLOSED, "never", False),
    ],
)
def test_the_param_says_which_polylines_are_outlines(points, polyline_param, is_outline):
    if is_outline:
        assert outline_of(region(polyline(*points)), polyline_param) == points
    else:
        with pytest.raises(UnusableError):
            outline_of(region(polyline(*points)), polyline_param)


def test_an_outline_inside_the_image_keeps_its_points_even_if_it_crosses_itself():
    bow_tie = [(0, 0), (200, 100), (200, 0), (0, 100)]
    assert clip_outline(bow_tie, 200, 100) is bow_tie


def test_an_outline_beyond_the_image_is_cut_and_not_bent():
    # the edge from (150, 50) to (210, 110) leaves the image at (200, 100)
    assert set(clip_outline([(150, 50), (210, 110), (210, 50)], 200, 100)) == {(150, 50), (200, 100), (200, 50)}


@pytest.mark.parametrize(
    ("outline", "reason"),
    [([(300, 10), (320, 10), (320, 40)], "outside the image"), ([(10, 10), (10, 20), (10, 30)], "no area")],
)
def test_an_outline_without_area_inside_the_image_is_refused(outline, reason):
    with pytest.raises(UnusableError, match="has no area inside the image of 200 x 100 px") as error:
        clip_outline(outline, 200, 100)
    assert error.value.reason == reason
