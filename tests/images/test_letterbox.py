"""Photographs in the network's input."""

import pytest
import torch

from viadet.images.letterbox import letterbox_image, letterbox_of

GREY = (128, 128, 128)


@pytest.mark.parametrize("size_wh", [(200, 100), (100, 200), (1023, 681), (64, 64)])
def test_a_letterboxed_photograph_lies_upper_left_on_the_fill_colour(size_wh):
    width, height = size_wh
    image = torch.full((3, height, width), 255, dtype=torch.uint8)
    canvas, box = letterbox_image(image, (128, 128), GREY)
    assert box == letterbox_of(width, height, (128, 128))
    assert max(box.width, box.height) == 128
    assert (canvas[:, : box.height, : box.width] == 255).all()
    assert int((canvas == 128).all(0).sum()) == 128 * 128 - box.width * box.height
    assert box.scale_xy == (box.width / width, box.height / height)


def test_an_extremely_narrow_photograph_keeps_one_pixel():
    assert letterbox_of(1, 5000, (128, 128))[:2] == (1, 128)
