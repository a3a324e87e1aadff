"""A review in the real VIA 2: a suggestion accepted, an annotation deleted, one moved; the rest arrives as it was."""

import json
import shutil

import pytest
from annotations.draw_in_via import Via2, drag, positions
from annotations.via_files import convert_params
from inference.test_correct_in_via import opened_project, page_file  # noqa: F401
from PIL import Image
from projects import via_entry

from viadet.annotations.convert import convert_data_set
from viadet.review.suspects import Suspect
from viadet.review.via_files import review_project

pytestmark = pytest.mark.slow

SIZE_WH = (640, 480)
MOVED = {"name": "rect", "x": 40, "y": 300, "width": 120, "height": 100}
DELETED = {"name": "rect", "x": 250, "y": 300, "width": 120, "height": 100}
KEPT = {"name": "polygon", "all_points_x": [450, 600, 520], "all_points_y": [300, 310, 430.5]}
SUGGESTED = (100.0, 50.0, 250.25, 150.0)
NOTES = {"kind": "cat", "tags": {"old": True}, "note": "naïve"}


def converted(folder):
    return convert_data_set(folder, "data/own", convert_params(categories="auto", attribute="kind"))


def boxes_of(folder):
    return {
        image.file_name: [(entry["category_id"], entry["bbox"]) for entry in image.annotations]
        for image in converted(folder).images
    }


@pytest.fixture
def folder(tmp_path):
    """Two annotated images, the first with three objects."""
    folder = tmp_path / "own"
    folder.mkdir()
    entries = [via_entry("a.jpg", MOVED, DELETED, KEPT, attributes=NOTES), via_entry("b.jpg", KEPT, attributes=NOTES)]
    for entry in entries:
        Image.effect_mandelbrot(SIZE_WH, (-2, -1.5, 1, 1.5), 40).save(folder / entry["filename"])
    (folder / "via.json").write_text(json.dumps({entry["filename"]: entry for entry in entries}), encoding="utf-8")
    return folder


def test_in_via_a_suggestion_is_accepted_one_is_moved_one_deleted_and_the_rest_stays(page_file, folder, tmp_path):  # noqa: F811
    suspects = [
        Suspect("missing", 0.9, 1, None, 1, SUGGESTED),
        Suspect("missing", 0.8, 1, None, 1, (400.0, 50.0, 500.0, 150.0)),
        Suspect("spurious", 0.7, 1, 1, None, None),
    ]
    project, _ = review_project("review", folder, converted(folder), suspects, {"a.jpg": 1, "b.jpg": 2})
    path = tmp_path / "review.json"
    path.write_text(json.dumps(project), encoding="utf-8")
    with opened_project(page_file, path) as page:
        assert page.evaluate("_via_canvas_regions.length") == 5
        via, scale = Via2(page), page.evaluate("_via_canvas_scale")
        place = {"moved": (100, 350), "deleted": (310, 350), "suggested": (175, 100)}

        def on_canvas(x, y):
            return x / scale, y / scale

        page.mouse.click(*positions(page, via.canvas, [on_canvas(*place["moved"])])[0])
        drag(page, via.canvas, on_canvas(*place["moved"]), on_canvas(place["moved"][0] + 30, place["moved"][1] - 30))
        via.deselect()
        page.mouse.click(*positions(page, via.canvas, [on_canvas(*place["deleted"])])[0])
        page.keyboard.press("d")
        page.mouse.click(*positions(page, via.canvas, [on_canvas(*place["suggested"])])[0])
        number = page.evaluate("_via_user_sel_region_id")
        field = page.locator(f"#suspect__{number}")
        assert field.input_value() == "suggested: missing 0.90"
        field.fill("")
        field.dispatch_event("change")
        via.deselect()
        (tmp_path / "exports").mkdir()
        via.export(tmp_path / "exports")
    for name in ("via_project.json", "via_project_json.json", "via_project_csv.csv"):
        copy = shutil.copytree(folder, tmp_path / f"with {name}")
        shutil.copy(tmp_path / "exports" / name, copy)
        after = boxes_of(copy)
        moved, kept, accepted = after["a.jpg"]
        assert moved[1] == pytest.approx([70, 270, 120, 100], abs=2)
        assert accepted == (1, [100, 50, 150.25, 100])
        assert [kept] == after["b.jpg"] == boxes_of(folder)["b.jpg"]
        assert converted(copy).suggestions == ["a.jpg"]
    saved = json.loads((tmp_path / "exports/via_project.json").read_text(encoding="utf-8"))["_via_img_metadata"]
    first, second = saved.values()
    assert second == project["_via_img_metadata"][list(saved)[1]]
    assert first["regions"][1] == next(iter(project["_via_img_metadata"].values()))["regions"][2]
