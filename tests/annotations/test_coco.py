"""COCO's format, as pycocotools reads it."""

import json

from annotations.via_files import SQUARE, convert_params, write_split
from projects import polygon, via_entry
from pycocotools.coco import COCO

from viadet.annotations.coco import box_and_outline, to_coco
from viadet.annotations.convert import convert_data_set


def test_a_box_is_the_raw_extent_of_the_polygon_and_its_area():
    annotation = box_and_outline([(10, 20), (50, 20), (50, 80), (10, 80)])
    # x 10..50, y 20..80: width 40, height 60, area 40 * 60
    assert annotation["bbox"] == [10, 20, 40, 60]
    assert annotation["area"] == 2400
    assert annotation["segmentation"] == [[10, 20, 50, 20, 50, 80, 10, 80]]


def test_ids_count_from_1_in_the_order_of_file_names(tmp_path):
    triangle = polygon((100, 10), (180, 10), (180, 90))
    write_split(tmp_path / "val", [via_entry("b.png", SQUARE), via_entry("a.png", SQUARE, triangle)])
    coco = to_coco(convert_data_set(tmp_path, "data/own", convert_params()).images, ["balloon"])
    assert [(image["id"], image["file_name"]) for image in coco["images"]] == [(1, "val/a.png"), (2, "val/b.png")]
    ids = [(a["id"], a["image_id"], a["category_id"]) for a in coco["annotations"]]
    assert ids == [(1, 1, 1), (2, 1, 1), (3, 2, 1)]
    (tmp_path / "coco.json").write_text(json.dumps(coco), encoding="utf-8")
    assert len(COCO(str(tmp_path / "coco.json")).anns) == 3
