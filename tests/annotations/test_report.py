"""The report of a data set on the terminal, in metrics and in its file."""

import json
from pathlib import Path

import pytest
import yaml
from annotations.via_files import SQUARE, convert_params, write_split
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from projects import read, stage_error, via_entry, write_params

from stages import convert
from viadet.annotations.categories import Categories
from viadet.annotations.report import found_params
from viadet.project.errors import UserError
from viadet.project.params import load_yaml

POINT = {"name": "point", "cx": 1, "cy": 2}


@pytest.fixture
def lines(project, capsys):
    """What the stage prints of a data set with many categories, and of each fault one that is skipped."""
    kinds = [f"kind {number:02d}" for number in range(23)]
    entries = []
    for name in ("a", "b", "c"):
        entry = via_entry(f"{name}.png", SQUARE, SQUARE, attributes={"kind": kinds[0]})
        for number, kind in enumerate(kinds):
            shape = {"name": "rect", "x": number, "y": 1, "width": 100, "height": 100}
            entry["regions"] += via_entry("", shape, attributes={"kind": kind})["regions"]
        entries.append(entry)
    others = [{"name": f"shape {number}"} for number in range(9)] + [POINT, {**SQUARE, "all_points_x": 3}]
    entries[0]["regions"] += via_entry("", *others, attributes={"kind": kinds[1]})["regions"]
    entries[0]["regions"] += [{"shape_attributes": {"name": "line"}}, {"shape_attributes": SQUARE}]
    write_split(Path("data/raw"), [*entries, via_entry("only points.png", POINT), via_entry("gone.png", SQUARE)])
    for number, name in enumerate("abc"):
        Image.new("RGB", (200, 120), (number, 0, 0)).save(f"data/raw/{name}.png")
    Path("data/raw/gone.png").unlink()
    Path("data/raw/coco.json").write_text(json.dumps({"images": [], "annotations": []}), encoding="utf-8")
    Image.new("RGB", (8, 8)).save("data/raw/new.png")
    skip = dict.fromkeys(("points", "bad_regions", "bad_images", "other_categories"), "skip")
    write_params({f"convert.{key}": value for key, value in skip.items()}, recipe="own")
    convert.main()
    return capsys.readouterr().out.splitlines()


def test_the_terminal_shows_what_was_left_out_and_by_which_param(lines):
    place = "data/own/via_region_data.json"
    for line in (
        f"left out by convert.points: 2 regions (point): {place}, a.png, region 34 is a point, which has no area; "
        f"{place}, only points.png, region 0",
        f"left out by convert.bad_images: 1 image (missing image): {place}, gone.png is missing",
        "left out by convert.emptied_images: 1 image whose regions were all left out: only points.png",
        "left out: 1 image without an entry in an annotation file: new.png",
        "left out: 3 regions equal to another one of the same image: in a.png, b.png, c.png",
        "not written by VIA: data/own/coco.json (COCO annotations)",
        "  and 3 more categories",
    ):
        assert line in lines
    assert not any("kind 20" in line and line.startswith("  kind") for line in lines)
    few = [line for line in lines if "train has fewer than 10 objects" in line]
    assert len(few) == 1
    assert few[0].startswith("warning: train has fewer than 10 objects of kind 01 (2), kind 02 (2), ")
    assert " and 13 more; annotate more images" in few[0]


def test_regions_beyond_the_image_are_counted_and_images_of_a_damaged_file_are_not_called_left_out(project, capsys):
    beyond = {"name": "rect", "x": 150, "y": 50, "width": 500, "height": 20}
    write_split(Path("data/raw"), [via_entry("a.png", SQUARE), via_entry("b.png", beyond, SQUARE)])
    Image.new("RGB", (200, 100)).save("data/raw/c.png")
    Image.new("RGB", (200, 100), "red").save("data/raw/b.png")
    write_params(recipe="own")
    convert.main()
    out = capsys.readouterr().out.splitlines()
    assert "clipped: 1 region that reached beyond the edge of the image: in b.png" in out
    assert "left out: 1 image without an entry in an annotation file: c.png" in out
    Path("data/raw/more.json").write_text('{"_via_img_metadata": {"c', encoding="utf-8")
    with pytest.raises(UserError, match=r"^data/own/more\.json is not valid JSON"):
        convert.main()
    assert "left out" not in capsys.readouterr().out


def test_metrics_hold_few_figures_and_the_file_all(lines):
    assert read("metrics/dataset.json") == {
        "train_images": 2,
        "train_boxes": 48,
        "val_images": 1,
        "val_boxes": 24,
        "categories": 23,
        "left_out_images": 2,
        "left_out_regions": sum(fault["count"] for fault in read("metrics/dataset_report.json")["faults"]) - 1,
    }
    report = read("metrics/dataset_report.json")
    assert report["splits"]["train"]["categories"]["kind 00"]["boxes"] == 4
    assert (report["images_emptied"], report["images_without_entry"]) == (["only points.png"], ["new.png"])
    assert {fault["decided_by"] for fault in report["faults"]} >= {"convert.points", "convert.bad_images"}


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(texts, min_size=1, max_size=4), texts, st.sampled_from(["utf-8", "ascii"]))
@example(
    ["1e3", "yes", "y", "1:30", "0o7", "null", "~", "a: b", "a #b", "-", "é \u2028", "x" * 200 + " y"], "1e3", "ascii"
)
def test_the_lines_to_copy_are_read_back_as_the_same_texts(names, attribute, encoding):
    lines = found_params(Categories(attribute, names), convert_params(categories="auto", attribute="auto"))
    assert not any("\n" in line for line in lines)
    text = "\n".join(lines[1:]).encode(encoding, "backslashreplace").decode(encoding)  # as a terminal prints it
    for load in (load_yaml, yaml.safe_load):
        assert load(text) == {"convert": {"categories": names, "attribute": attribute}}


def test_the_sample_has_no_warnings(finished_sample):
    assert json.loads((finished_sample / "metrics/dataset_report.json").read_text(encoding="utf-8"))["warnings"] == []


def test_regions_without_any_attribute_are_told(project, capsys):
    write_split(Path("data/raw"), [via_entry(f"{name}.png", SQUARE) for name in "ab"])
    for number, name in enumerate("ab"):
        Image.new("RGB", (200, 120), (number, 0, 0)).save(f"data/raw/{name}.png")
    write_params(recipe="own")
    convert.main()
    expected = "found (no region has a value in any attribute, so all are object), to copy into params.yaml:"
    assert expected in capsys.readouterr().out.splitlines()


def test_a_lone_error_is_said_once(project, capsys):
    write_split(Path("data/raw"), [via_entry("a.png", SQUARE, attributes={"kind": "kite", "colour": "red"})])
    write_params(recipe="own")
    assert "several region attributes could be the category" in stage_error("convert")
    assert "could be the category" not in capsys.readouterr().out
    assert read("metrics/dataset_report.json")["values"] == {"colour": {"red": 1}, "kind": {"kite": 1}}


def test_an_image_that_only_one_annotator_has_labelled_is_named(project, capsys):
    write_split(Path("data/raw"), [via_entry("a.png", SQUARE), via_entry("b.png", SQUARE), via_entry("c.png", SQUARE)])
    for number, name in enumerate("abc"):
        Image.new("RGB", (200, 120), (number, 0, 0)).save(f"data/raw/{name}.png")
    entries = {name: via_entry(name) for name in ("a.png", "b.png")}
    Path("data/raw/other.json").write_text(json.dumps(entries), encoding="utf-8")
    write_params(recipe="own")
    convert.main()
    assert "2 images with regions in one annotation file and none in another: a.png, b.png" in capsys.readouterr().out


def test_polylines_that_were_taken_as_outlines_are_counted(project, capsys):
    line = {"name": "polyline", "all_points_x": [1, 90, 80], "all_points_y": [1, 7, 80]}
    write_split(Path("data/raw"), [via_entry("a.png", line, SQUARE, line), via_entry("b.png", SQUARE)])
    Image.new("RGB", (200, 100), "red").save("data/raw/b.png")
    write_params({"convert.polyline": "always"}, recipe="own")
    convert.main()
    assert "taken as outlines by convert.polyline: 2 polylines: in a.png" in capsys.readouterr().out
    report = read("metrics/dataset_report.json")
    assert report["images_with_polylines_as_outlines"] == {"a.png": 2}
    assert (report["images_with_equal_regions"], report["images_with_clipped_regions"]) == ({"a.png": 1}, {})


def test_changed_and_turned_images_are_warned_of(project, capsys):
    write_split(Path("data/raw"), [via_entry(f"{name}.png", SQUARE) | {"size": 9} for name in "abc"])
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, colour in (("a", "red"), ("c", "green")):
        Image.new("RGB", (200, 100), colour).save(f"data/raw/{name}.png", exif=exif)
    across = {"name": "rect", "x": 120, "y": 10, "width": 70, "height": 50}
    Path("data/raw/more.json").write_text(json.dumps([via_entry("d.png", across)]), encoding="utf-8")
    Image.new("RGB", (200, 100), "blue").save("data/raw/d.png", exif=exif)
    write_params({"convert.bad_images": "skip"}, recipe="own")
    convert.main()
    out = capsys.readouterr().out
    assert "warning: 2 images turned by EXIF as well, whose regions fit both ways; check them, too: a.png, c.png" in out
    assert "warning: 3 images have other bytes than when they were annotated, such as a.png (" in out
    assert "left out by convert.bad_images: 1 image (drawn before turned by EXIF): data/own/more.json, d.png, " in out


def test_the_folder_itself_is_named_where_categories_are_unclear(project, capsys):
    entries = [via_entry(f"{n}.png", SQUARE, attributes={"a": "xy"[n % 2], "b": "uv"[n % 2]}) for n in range(4)]
    write_split(Path("data/raw"), entries)
    Path("data/raw/0.png").unlink()  # a lone error would be told once, at the end
    write_params(recipe="own")
    with pytest.raises(UserError, match=r"data/own has no clear categories"):
        convert.main()
    assert "error: 1 folder (category): data/own has no clear categories" in capsys.readouterr().out
