"""Photographs as tensors."""

import pytest
import torch
from PIL import Image

from viadet.images.pixels import blank_canvas, read_image
from viadet.project.errors import UserError


def test_a_photograph_is_read_upright_as_channels_rows_columns(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    picture = Image.new("RGB", (40, 20))
    picture.paste((255, 0, 0), (0, 0, 20, 20))  # the left half
    picture.save(tmp_path / "turned.png", exif=exif)
    image = read_image(tmp_path / "turned.png")
    assert image.dtype == torch.uint8
    assert image.shape == (3, 40, 20)
    assert (image[0, :20] == 255).all()  # has become the upper half
    assert not image[0, 20:].any()
    assert not image[1:].any()
    assert read_image(tmp_path / "turned.png", max_side=20).shape == (3, 20, 10)


def test_an_unreadable_photograph_is_an_error_that_names_it(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"broken\.jpg can't be read as an image"):
        read_image(tmp_path / "broken.jpg")


def test_a_canvas_has_one_colour():
    canvas = blank_canvas((5, 4), (1, 2, 3))
    assert canvas.shape == (3, 4, 5)
    assert [channel.unique().tolist() for channel in canvas] == [[1], [2], [3]]
