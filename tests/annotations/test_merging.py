"""Merging the images of several annotation files."""

from pathlib import Path

import pytest
from annotations.via_files import SQUARE

from viadet.annotations.merging import merge_annotations
from viadet.annotations.via import ViaImage
from viadet.project.errors import UserError

ONE, TWO, THREE = Path("one.json"), Path("two.csv"), Path("three.json")
REGION = {"shape_attributes": SQUARE, "region_attributes": {"kind": "kite"}}
OTHER = {"shape_attributes": SQUARE, "region_attributes": {"kind": "balloon"}}


def test_images_of_all_files_are_sorted_and_know_their_file():
    merged = merge_annotations([(TWO, [ViaImage("b.png", [REGION])]), (ONE, [ViaImage("a.png", [OTHER, REGION])])])
    assert merged == [("a.png", [OTHER, REGION], ONE, ()), ("b.png", [REGION], TWO, ())]


def test_identical_entries_count_once_in_several_files_and_in_one():
    entry = ViaImage("a.png", [REGION], 5)
    copy = ViaImage("a.png", [REGION | {"region_attributes": {"kind": "kite"}}])
    assert merge_annotations([(ONE, [entry, entry]), (TWO, [copy])]) == [("a.png", [REGION], ONE, ())]


def test_an_entry_without_regions_gives_way_and_is_reported():
    empty, filled = ViaImage("a.png", []), ViaImage("a.png", [REGION])
    files = [(ONE, [empty]), (TWO, [filled]), (THREE, [empty])]
    assert merge_annotations(files) == [("a.png", [REGION], TWO, (ONE, THREE))]
    assert merge_annotations([(ONE, [empty]), (TWO, [empty])]) == [("a.png", [], ONE, ())]


def test_all_contradictions_are_named_at_once():
    images = [ViaImage(f"{letter}.png", [REGION]) for letter in "abcdefghijkl"]
    changed = [ViaImage(f"{letter}.png", [OTHER, REGION]) for letter in "abcdefghijk"]
    with pytest.raises(UserError) as error:
        merge_annotations([(ONE, images), (TWO, changed)])
    assert str(error.value).startswith(
        "11 images have entries with different regions: a.png (one.json: 1 regions, two.csv: 2 regions); b.png (one"
    )
    assert str(error.value).endswith("; and 1 more; keep one entry for each image")
