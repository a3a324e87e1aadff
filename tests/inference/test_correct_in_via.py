"""Predicted boxes in the real VIA 2: opened beside their images, corrected with mouse and keyboard, converted again."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from annotations.draw_in_via import BROWSER, PAGES, Via2, drag, positions
from annotations.via_files import convert_params
from click.testing import CliRunner
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from projects import spec_of

import viadet
from viadet.annotations.convert import convert_data_set
from viadet.commands.app import main
from viadet.network.build import build_network
from viadet.network.weights import save_network

pytestmark = pytest.mark.slow

VIA_PAGES = os.environ.get("VIA_PAGES")
SIZE_WH = (640, 480)
BOXES = 3  # in the image that is corrected
MOVE_PX = 30


@pytest.fixture
def page_file():
    if not BROWSER:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium): VIA is not run")
    if not VIA_PAGES or not Path(VIA_PAGES, PAGES["via2"]).is_file():
        pytest.skip(f"VIA is not run: set VIA_PAGES to a folder with {PAGES['via2']} of the VIA releases")
    return Path(VIA_PAGES, PAGES["via2"]).resolve()


@pytest.fixture
def predictions(tmp_path):
    """A folder of images with the predictions of an untrained network for two categories, a few boxes in the first."""
    images = tmp_path / "my photographs #1"
    (images / "sub").mkdir(parents=True)
    Image.effect_mandelbrot(SIZE_WH, (-2, -1.5, 1, 1.5), 40).save(images / "50% & more.jpg")
    Image.effect_mandelbrot(SIZE_WH, (-2, -1.5, 1, 1.5), 20).save(images / "sub/b.png")
    torch.manual_seed(1)
    spec = spec_of(256, ["cat", "dog"])
    network = build_network(spec)
    with torch.no_grad():
        network.class_net.predict.conv_pw.bias.fill_(0.0)
    model_dir = tmp_path / "model"
    model_dir.mkdir()
    save_network(network, spec, model_dir)
    scores = viadet.load(model_dir, "cpu")(images / "50% & more.jpg", threshold=0.0).scores
    out = tmp_path / "predictions"
    arguments = [images, "--model", model_dir, "--out", out, "--threshold", scores[BOXES - 1] - 1e-5, "--workers", 0]
    result = CliRunner().invoke(main, ["predict", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return images, out


@contextmanager
def opened_project(page_file: Path, project: Path) -> Iterator[Page]:
    """Open a project in VIA 2, whose page is a file that lies elsewhere; wait for the first image."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(page_file.as_uri())
        page.add_style_tag(content="#message_panel, #_via_message_container { pointer-events: none; }")  # lies above
        with page.expect_file_chooser() as chooser:
            page.evaluate("project_open_select_project_file()")
        chooser.value.set_files(project)
        page.wait_for_function("_via_current_image_loaded && !_via_is_loading_current_image")
        page.wait_for_timeout(300)
        yield page
        browser.close()


def own_point(box_xywh: list[float], others: list[list[float]]) -> tuple[float, float]:
    """Find a point of the image in a box, but in no other one, far from all corners and edges."""
    x0, y0, width, height = box_xywh
    steps = [step / 20 for step in range(1, 20)]
    points = [(x0 + width * i, y0 + height * j) for i in steps for j in steps]

    def distance(x: float, y: float) -> float:
        inside = min(x - x0, y - y0, x0 + width - x, y0 + height - y)
        return min(inside, *(max(a - x, b - y, x - a - w, y - b - h) for a, b, w, h in others), 1e9)

    best = max(points, key=lambda point: distance(*point))
    assert distance(*best) > 10, "boxes hide one another"
    return best


def step_inside(start: float, length: float, size: float) -> int:
    """Choose a step that keeps a side within the image, as VIA moves no box out of it."""
    return MOVE_PX if start + length + MOVE_PX < size else -MOVE_PX if start > MOVE_PX else 0


def objects_of(folder: Path, annotations: Path, images: Path) -> dict[str, list]:
    """Convert the images with one annotation file: category id and box of each object by image."""
    shutil.copytree(images, folder)
    shutil.copy(annotations, folder)
    data_set = convert_data_set(folder, "data", convert_params(categories=["cat", "dog"], attribute="auto"))
    assert not data_set.faults
    assert data_set.categories.attribute == "category"
    return {
        image.image["file_name"]: [(entry["category_id"], entry["bbox"]) for entry in image.annotations]
        for image in data_set.images
    }


def test_a_box_that_is_moved_and_one_that_is_deleted_arrive_and_nothing_else_changes(page_file, predictions, tmp_path):
    images, out = predictions
    before = objects_of(tmp_path / "before", out / "via_project.json", images)
    boxes = [box for _, box in before["50% & more.jpg"]]
    assert len(boxes) == BOXES and len(before["sub/b.png"]) > 0
    with opened_project(page_file, out / "via_project.json") as page:
        natural = "[_via_current_image.naturalWidth, _via_current_image.naturalHeight]"
        assert tuple(page.evaluate(natural)) == SIZE_WH
        assert page.evaluate("_via_canvas_regions.length") == BOXES
        via, scale = Via2(page), page.evaluate("_via_canvas_scale")
        screenshot = os.environ.get("VIA_SCREENSHOT")
        if screenshot:
            page.screenshot(path=screenshot)

        def to_canvas(x: float, y: float) -> tuple[float, float]:
            return x / scale, y / scale

        x, y, width, height = boxes[0]
        dx, dy = step_inside(x, width, SIZE_WH[0]), step_inside(y, height, SIZE_WH[1])
        assert (dx, dy) != (0, 0)
        start = own_point(boxes[0], boxes[1:])
        page.mouse.click(*positions(page, via.canvas, [to_canvas(*start)])[0])
        assert page.evaluate("_via_user_sel_region_id") == 0
        drag(page, via.canvas, to_canvas(*start), to_canvas(start[0] + dx, start[1] + dy))
        via.deselect()
        page.mouse.click(*positions(page, via.canvas, [to_canvas(*own_point(boxes[1], [boxes[0], *boxes[2:]]))])[0])
        assert page.evaluate("_via_user_sel_region_id") == 1
        page.keyboard.press("d")
        (tmp_path / "exports").mkdir()
        via.export(tmp_path / "exports")

    for name in ("via_project.json", "via_project_json.json", "via_project_csv.csv"):
        after = objects_of(tmp_path / name, tmp_path / "exports" / name, images)
        moved, *others = after.pop("50% & more.jpg")
        assert moved[0] == before["50% & more.jpg"][0][0]
        assert moved[1] == pytest.approx([x + dx, y + dy, width, height], abs=2)
        assert others == before["50% & more.jpg"][2:]
        assert after == {"sub/b.png": before["sub/b.png"]}
    regions = json.loads((tmp_path / "exports/via_project_json.json").read_text(encoding="utf-8")).popitem()[1][
        "regions"
    ]
    assert all(region["region_attributes"].keys() == {"category", "score"} for region in regions)
