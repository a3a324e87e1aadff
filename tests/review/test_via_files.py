"""The project of a review: what it shows, and what `convert` makes of it before and after corrections."""

import json
import shutil

import pytest
from annotations.via_files import SQUARE, convert_params, write_split
from projects import via_entry

from viadet.annotations.convert import convert_data_set
from viadet.review.suspects import Suspect
from viadet.review.via_files import review_project

OTHER = {"name": "rect", "x": 100, "y": 10, "width": 50, "height": 40}
LINE = {"name": "line", "all_points_x": [0, 9], "all_points_y": [0, 9]}
EXTREME = {"name": "extreme_circle", "all_points_x": [60, 80, 70], "all_points_y": [50, 50, 60]}
NOTES = {"kind": "dog", "tags": {"old": True}, "note": 'naïve, "quoted"'}
SUSPECTS = [
    Suspect("missing", 0.9, 2, None, 1, (120.0, 20.0, 150.5, 60.0)),
    Suspect("class", 0.8, 1, 1, 1, (100.0, 10.0, 150.0, 50.0)),
    Suspect("loose", 0.3, 1, 0, 2, (12.0, 22.0, 52.0, 82.0)),
]


def converted(folder):
    return convert_data_set(folder, "data/own", convert_params(categories="auto", attribute="kind", bad_regions="skip"))


@pytest.fixture
def folder(tmp_path):
    """Three images, the first with a square and a rectangle."""
    entries = [via_entry(f"{name}.png", SQUARE, attributes=NOTES | {"kind": "cat"}) for name in ("a", "b #1", "c")]
    entries[0]["regions"] += via_entry("", OTHER, attributes=NOTES)["regions"]
    entries[0]["file_attributes"] = {"caption": "two of them"}
    return write_split(tmp_path / "own", entries)


def project_of(folder, suspects=SUSPECTS):
    data_set = converted(folder)
    ids = {image.file_name: number for number, image in enumerate(data_set.images, start=1)}
    return review_project("review", folder, data_set, suspects, ids)


def objects_of(folder):
    return {image.file_name: image.annotations for image in converted(folder).images}


def test_the_worst_image_comes_first_and_all_others_too(folder):
    project, left_out = project_of(folder)
    assert left_out == []
    names = [entry["filename"] for entry in project["_via_img_metadata"].values()]
    assert names == ["b %231.png", "a.png", "c.png"]
    assert project["_via_image_id_list"] == list(project["_via_img_metadata"])
    first, second, third = project["_via_img_metadata"].values()
    assert [region["region_attributes"] for region in first["regions"]] == [
        NOTES | {"kind": "cat", "suspect": ""},
        {"kind": "cat", "suspect": "suggested: missing 0.90"},
    ]
    assert [region["region_attributes"]["suspect"] for region in second["regions"]] == [
        "",
        "class 0.80: cat",
        "suggested: loose 0.30",
    ]
    assert second["file_attributes"] == {"caption": "two of them", "review": "1"}
    assert third["regions"][0]["shape_attributes"] == SQUARE
    described = project["_via_attributes"]["region"]
    assert {name: entry["type"] for name, entry in described.items()} == {
        "kind": "dropdown",
        "tags": "checkbox",
        "note": "text",
        "suspect": "text",
    }
    assert list(described["kind"]["options"]) == ["cat", "dog"]


def test_what_is_left_as_it_is_changes_nothing_and_what_is_accepted_counts(folder):
    before = objects_of(folder)
    project, _ = project_of(folder)
    path = folder / "review.json"
    path.write_text(json.dumps(project), encoding="utf-8")
    assert objects_of(folder) == before
    first = project["_via_img_metadata"][project["_via_image_id_list"][0]]
    first["regions"][1]["region_attributes"]["suspect"] = ""
    path.write_text(json.dumps(project), encoding="utf-8")
    after = objects_of(folder)
    accepted = after["b #1.png"].pop()
    assert (accepted["bbox"], accepted["category_id"]) == ([120.0, 20.0, 30.5, 40.0], 1)
    assert after == before


def test_the_next_review_starts_from_this_one_without_its_suspicions(folder, tmp_path):
    project, _ = project_of(folder)
    (folder / "review.json").write_text(json.dumps(project), encoding="utf-8")
    again, _ = project_of(folder, [])
    assert all(entry["file_attributes"]["review"] == "2" for entry in again["_via_img_metadata"].values())
    regions = [region for entry in again["_via_img_metadata"].values() for region in entry["regions"]]
    assert len(regions) == 4 and all(region["region_attributes"]["suspect"] == "" for region in regions)
    moved = shutil.copytree(folder, tmp_path / "moved")
    (moved / "second.json").write_text(json.dumps(again), encoding="utf-8")
    assert objects_of(moved) == objects_of(folder)


def test_shapes_that_via_2_does_not_have_are_drawn_or_counted(tmp_path):
    entry = via_entry("a.png", SQUARE, EXTREME, LINE, {"name": "hexagon"}, attributes={"kind": "cat"})
    folder = write_split(tmp_path / "own", [entry])
    before = objects_of(folder)
    project, left_out = project_of(folder, [])
    assert left_out == ["a.png"]
    (shown,) = project["_via_img_metadata"].values()
    assert [region["shape_attributes"]["name"] for region in shown["regions"]] == ["polygon", "polygon", "polyline"]
    (folder / "review.json").write_text(json.dumps(project), encoding="utf-8")
    after = objects_of(folder)
    assert [entry["bbox"] for entry in after["a.png"]] == [
        pytest.approx(entry["bbox"], abs=0.1) for entry in before["a.png"]
    ]
