"""The files that the real VIA programs export, see via_exports/README.md."""

import math
import os
import shutil
from pathlib import Path

import pytest
from annotations.draw_in_via import BROWSER, PAGES, PROGRAMS, download, draw_files, draw_paths, via_page
from annotations.via_files import Drawn, convert_params, files_of, via_json
from annotations.via_work import (
    IMPORTED,
    PATHS,
    RECT,
    SIZES_WH,
    UNREACHABLE,
    box_of,
    images_of,
    regions_of,
    write_images,
)
from PIL import Image

from viadet.annotations.coco import to_coco
from viadet.annotations.convert import convert_data_set
from viadet.via.annotation_files import read_annotation_file

EXPORTS = Path(__file__).parent / "via_exports"
VIA_PAGES = os.environ.get("VIA_PAGES")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


def coco_of(export: Path, images: Path, folder: Path, **changes) -> dict:
    """Convert one export with its images."""
    shutil.copytree(images, folder)
    shutil.copy(export, folder)
    params = convert_params(categories="auto", points="skip", polyline="always", bad_regions="skip", **changes)
    data_set = convert_data_set(folder, "data", params)
    assert {fault.reason for fault in data_set.faults} <= {"point", "line"}
    return to_coco(data_set.images, data_set.categories.names)


def objects_by_image(coco: dict) -> dict[str, list]:
    """Give category name, box and outline of each object, in the order of the file."""
    names = {category["id"]: category["name"] for category in coco["categories"]}
    files = {image["id"]: image["file_name"] for image in coco["images"]}
    objects = {name: [] for name in files.values()}
    for annotation in coco["annotations"]:
        (outline,) = annotation["segmentation"]
        objects[files[annotation["image_id"]]].append((names[annotation["category_id"]], annotation["bbox"], outline))
    return objects


def test_each_export_is_recognised_by_its_content():
    recognised = set(files_of(EXPORTS).images)
    via1 = {"via1/via_region_data.json", "via1/via_region_data.csv"}
    via2 = {f"via2{kind}/via_project{end}" for kind in ("", "_paths") for end in (".json", "_json.json", "_csv.csv")}
    via3 = {f"via3{kind}/via_project{end}" for kind in ("", "_paths") for end in (".json", "_export.csv")}
    assert recognised == via1 | via2 | via3
    others = files_of(EXPORTS).others
    assert others["via2/via_project_coco.json"] == "COCO annotations"
    assert set(others) == {"via2/via_project_coco.json", "via3/temporal_segments_export.csv"}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("attribute", ["species", "size", "state", "tags"])  # text, dropdown, radio, checkbox
def test_all_exports_of_the_same_work_give_the_same_coco(program, attribute, images, tmp_path):
    paths = [EXPORTS / program / name for name in files_of(EXPORTS / program).images]
    cocos = {path.name: coco_of(path, images, tmp_path / path.name, attribute=attribute) for path in paths}
    if program == "via3":  # its CSV has no row for an image without regions
        shared = cocos["via_project.json"]
        assert objects_by_image(shared).pop("nothing here.png") == []
        by_image = objects_by_image(cocos.pop("via_project_export.csv"))
        assert by_image == {name: objects for name, objects in objects_by_image(shared).items() if objects}
    first, *others = cocos.values()
    assert all(other == first for other in others)
    drawn = [region.values for regions in regions_of(program).values() for region in regions]
    assert {category["name"] for category in first["categories"]} == {v[attribute] for v in drawn if v}


@pytest.mark.parametrize("program", PROGRAMS)
def test_boxes_and_categories_are_those_that_were_drawn(program, images, tmp_path):
    name = next(name for name in files_of(EXPORTS / program).images if name.endswith(".json"))
    by_image = objects_by_image(coco_of(EXPORTS / program / name, images, tmp_path / "data", attribute="species"))
    assert set(by_image) == set(images_of(program))
    for name, regions in regions_of(program).items():
        drawn = [(region.values["species"], box) for region in regions if (box := box_of(region, SIZES_WH[name]))]
        assert [category for category, *_ in by_image[name]] == [category for category, _ in drawn]
        tolerance = 3.5 if name == "large.png" else 1.0  # px; VIA rounds to px of the screen
        for (_, (left, top, width, height), _), (_, box) in zip(by_image[name], drawn, strict=True):
            assert (left, top, left + width, top + height) == pytest.approx(box, abs=tolerance)


def test_an_ellipse_is_turned_as_in_via(images, tmp_path):
    coco = coco_of(EXPORTS / "via2/via_project.json", images, tmp_path / "data", attribute="species")
    (region,) = [region for region in regions_of("via2")["plain.jpg"] if region.shape == "ellipse"]
    _, _, outline = objects_by_image(coco)["plain.jpg"][2]
    points = zip(outline[0::2], outline[1::2], strict=True)
    assert min(math.dist(point, region.handle[1]) for point in points) < 0.1  # where its handle was dragged to


@pytest.mark.parametrize("program", ["via2", "via3"])
def test_names_with_paths_and_urls_lead_to_the_images(program, images, tmp_path):
    places = PATHS | ({**UNREACHABLE, IMPORTED: IMPORTED} if program == "via2" else {})
    folder = EXPORTS / f"{program}_paths"
    for name, annotated in files_of(folder).images.items():
        assert [image.file_name for image in annotated] == list(places)
        by_image = objects_by_image(coco_of(folder / name, images, tmp_path / name, attribute="species"))
        assert set(by_image) == set(places.values())
        assert all(
            (category, box) == ("cat", pytest.approx([RECT["x"], RECT["y"], RECT["width"], RECT["height"]], abs=1))
            for ((category, box, _),) in by_image.values()
        )


def test_a_size_that_via_did_not_know_is_none():
    for name in ("via_project.json", "via_project_json.json", "via_project_csv.csv"):
        assert {image.size for image in read_annotation_file(EXPORTS / "via2_paths" / name)} == {None}
    assert ",undefined," in (EXPORTS / "via2_paths/via_project_csv.csv").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def via_pages():
    if not BROWSER:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium): VIA is not run")
    if not VIA_PAGES or not all(Path(VIA_PAGES, page).is_file() for page in PAGES.values()):
        names = ", ".join(PAGES.values())
        pytest.skip(f"VIA is not run: set VIA_PAGES to a folder with {names} of the VIA releases")
    return Path(VIA_PAGES)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_drawing_again_gives_the_same_exports(program, via_pages, images, tmp_path):
    draw_files(program, via_pages, images, tmp_path / program)
    if program != "via1":
        draw_paths(program, via_pages, images, tmp_path / f"{program}_paths")
    exports = list(files_of(tmp_path).images)
    assert exports == [name for name in files_of(EXPORTS).images if name.startswith(program)]
    for name in exports:
        again, before = (read_annotation_file(folder / name) for folder in (tmp_path, EXPORTS))
        assert [image._replace(size=None) for image in again] == [image._replace(size=None) for image in before]


@pytest.mark.slow
def test_what_two_people_drew_on_an_image_is_joined_by_importing_both_into_via_2(via_pages, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    Image.new("RGB", (200, 100)).save(raw / "a.png")
    size = (raw / "a.png").stat().st_size
    files = [raw / "ann.json", raw / "bob.json"]
    for path, x, kind in zip(files, (10, 100), ("cat", "dog"), strict=True):
        rect = {"name": "rect", "x": x, "y": 10, "width": 30, "height": 40}
        path.write_text(via_json([Drawn("a.png", [(rect, {"kind": kind})], size)]), encoding="utf-8")
    params = convert_params(attribute="auto", categories="auto")
    [fault] = convert_data_set(raw, "data/own", params).faults
    assert "import both exports into VIA 2 (Annotation, Import Annotations)" in fault.text
    with via_page("via2", via_pages, raw) as page:
        for path in files:
            with page.expect_file_chooser() as chooser:
                page.evaluate("sel_local_data_file('annotations')")
            chooser.value.set_files([path])
            page.wait_for_function(
                "([id, count]) => _via_img_metadata[id]?.regions.length == count",
                arg=[f"a.png{size}", files.index(path) + 1],
            )
            path.unlink()
        download(page, "download_all_region_data('json')", raw / "both.json")
    data_set = convert_data_set(raw, "data/own", params)
    assert not data_set.faults
    assert [(a["category_id"], a["bbox"][0]) for a in data_set.images[0].annotations] == [(1, 10), (2, 100)]
