"""How many tiles, and which random scale, small objects need."""

import pytest

from viadet.annotations.object_sizes import largest_scale_for, median_side_px, tiles_for
from viadet.images.tiles import zoom_of

WH = (768, 768)


def coco_of(*sides_px, image_wh=(2048, 1536)):
    """Make a data set of one image with square boxes of these sides."""
    width, height = image_wh
    annotations = [{"image_id": 1, "bbox": [0, 0, side, side]} for side in sides_px]
    return {"images": [{"id": 1, "width": width, "height": height}], "annotations": annotations}


def test_the_median_object_is_measured_in_px_of_the_input():
    assert median_side_px(coco_of(8, 16, 400), WH) == pytest.approx(16 * 768 / 2048)
    assert median_side_px(coco_of(), WH) is None


def test_as_few_tiles_are_chosen_as_show_the_median_object_with_32_px():
    for side in (24, 40, 60, 80):
        tiles = tiles_for(coco_of(side), WH)
        shown = side * 768 / 2048
        assert shown * zoom_of(tiles) >= 32 > shown * zoom_of(tiles - 1)
    assert tiles_for(coco_of(86), WH) == tiles_for(coco_of(), WH) == 0
    assert tiles_for(coco_of(1), WH) == 8


def test_the_random_scale_reaches_what_the_tiles_show():
    assert largest_scale_for(coco_of(24), WH) == pytest.approx(1.25 * 32 / 9)
    assert largest_scale_for(coco_of(24), WH) > zoom_of(tiles_for(coco_of(24), WH)) * 0.9
    assert largest_scale_for(coco_of(300), WH) == largest_scale_for(coco_of(), WH) == 2
    assert largest_scale_for(coco_of(1), WH) == 8
