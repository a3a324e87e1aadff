"""Regions that were drawn in an image as it is stored, before its EXIF orientation turns it."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from annotations.via_files import convert_params
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from projects import polygon, via_entry

from viadet.annotations.convert import DataSet, convert_data_set
from viadet.annotations.orientation import EDGE, find_unturned, read_orientation

DRAWN = polygon((150, 50), (310, 50), (310, 200), (150, 200))  # in 320 x 240 px


def save(path: Path, stored: Image.Image, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(path, exif=exif)


def converted(folder: Path, shapes: dict[str, list[dict]], orientation: int = 6, **changes) -> DataSet:
    """Convert images of 320 x 240 px that are stored with an orientation, and have these shapes."""
    for name in shapes:
        save(folder / name, Image.new("RGB", (320, 240)), orientation)
    entries = {name: via_entry(name, *regions) for name, regions in shapes.items()}
    (folder / "via.json").write_text(json.dumps(entries), encoding="utf-8")
    return convert_data_set(folder, "data/own", convert_params(**changes))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_a_region_that_fits_only_the_stored_image_is_a_fault_with_the_upright_box(tmp_path, name):
    data_set = converted(tmp_path, {name: [polygon((1, 1), (50, 1), (50, 50)), DRAWN], "b.jpg": [DRAWN]})
    for fault, image, number in zip(data_set.faults, (name, "b.jpg"), (1, 0), strict=True):
        assert (fault.kind, fault.reason, fault.param) == ("image", "drawn before turned by EXIF", "bad_images")
        assert fault.sentence == (
            f"data/own/via.json, {image}, region {number} was drawn in the image as it is stored, 320 x 240 px, before "
            "EXIF orientation 6 turns it; upright, its box is [40, 150, 150, 160]; delete the orientation from the "
            "file (exiftool -Orientation= FILE), or draw all of its regions again in a browser that turns it"
        )
    assert data_set.images == []


def test_the_advice_to_delete_the_orientation_works(tmp_path):
    converted(tmp_path, {"a.png": [DRAWN]})
    with Image.open(tmp_path / "a.png") as image:
        Image.fromarray(np.asarray(image)).save(tmp_path / "a.png")
    data_set = convert_data_set(tmp_path, "data/own", convert_params())
    assert data_set.faults == []
    assert data_set.images[0].annotations[0]["bbox"] == [150, 50, 160, 150]


def test_other_images_that_are_turned_and_tell_nothing_are_named(tmp_path):
    shapes = {"a.jpg": [DRAWN], "either.jpg": [polygon((1, 1), (50, 1), (50, 50))], "empty.jpg": []}
    assert converted(tmp_path, shapes).turned == ["either.jpg"]
    assert converted(tmp_path, {name: shapes[name] for name in ("either.jpg", "empty.jpg")}).turned == []


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
def test_where_width_and_height_stay_regions_beyond_the_edge_are_clipped_as_ever(tmp_path, orientation):
    data_set = converted(tmp_path, {"a.jpg": [polygon((50, 100), (230, 100), (230, 310))]}, orientation)
    assert data_set.faults == []
    assert data_set.images[0].clipped_regions == 1


def test_a_region_a_little_beyond_the_edge_or_beside_one_that_fits_only_upright_is_clipped(tmp_path):
    little = {"name": "rect", "x": 100, "y": 20, "width": 142, "height": 80}  # to x 242 of 240
    beyond = little | {"width": 200}
    upright = {"name": "rect", "x": 10, "y": 150, "width": 100, "height": 160}
    data_set = converted(tmp_path, {"little.jpg": [little], "upright.jpg": [beyond, upright]})
    assert data_set.faults == []
    assert [image.clipped_regions for image in data_set.images] == [1, 1]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_each_region_that_exceeds_the_upright_image_is_told_with_the_box_of_its_turned_pixels(data):
    width, height = data.draw(st.tuples(st.integers(8, 60), st.integers(8, 60)))
    orientation = data.draw(st.integers(1, 8))
    left, right = sorted(data.draw(st.lists(st.integers(0, width), min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(data.draw(st.lists(st.integers(0, height), min_size=2, max_size=2, unique=True)))
    pixels = np.zeros((height, width), np.uint8)
    pixels[top:bottom, left:right] = 255
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.png")
        save(path, Image.fromarray(pixels), orientation)
        with Image.open(path) as file:
            upright = np.asarray(ImageOps.exif_transpose(file))
        assert read_orientation(path) == orientation
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        found = find_unturned([corners], path, upright.shape[::-1])
    is_beyond = right > (1 + EDGE) * upright.shape[1] or bottom > (1 + EDGE) * upright.shape[0]
    assert (found is not None) == is_beyond
    if found is not None:
        ys, xs = np.nonzero(upright)
        box = [xs.min(), ys.min(), xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()]
        assert (found.orientation, found.stored_wh, found.upright_xywh) == (orientation, (width, height), box)
