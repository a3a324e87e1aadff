"""What was detected in many images: how unsure it is, COCO's format, tables."""

import csv
import dataclasses
import json
import os

import pytest
from inference.test_via_files import CATEGORIES, RECORDS
from pycocotools.coco import COCO

from viadet.inference.records import coco_images, coco_results, unsureness, write_detections_csv, write_unsure_csv


def renamed(record, file_name):
    return dataclasses.replace(record, file_name=file_name)


def rows_of(path):
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.reader(file))


def test_detections_in_the_middle_count_most_and_sure_ones_hardly():
    assert unsureness([]) == 0
    assert unsureness([0.5]) == 1
    assert unsureness([0.05]) == pytest.approx(unsureness([0.95])) == pytest.approx(0.01)
    assert unsureness([0.5, 0.3]) == pytest.approx(1 + 0.6**2)  # the sum of (1 - |2p - 1|) squared


def test_pycocotools_reads_images_and_results(tmp_path):
    images, detections = tmp_path / "images.json", tmp_path / "results.json"
    images.write_text(json.dumps(coco_images(RECORDS, CATEGORIES)), encoding="utf-8")
    detections.write_text(json.dumps(coco_results(RECORDS)), encoding="utf-8")
    results = COCO(images).loadRes(str(detections))
    assert [image["file_name"] for image in results.dataset["images"]] == [record.file_name for record in RECORDS]
    assert results.dataset["images"][0] | {"width": 64, "height": 48, "id": 1} == results.dataset["images"][0]
    assert [category["name"] for category in results.loadCats([1, 2])] == CATEGORIES
    found = [(entry["image_id"], entry["category_id"], entry["bbox"]) for entry in results.dataset["annotations"]]
    assert found == [(1, 2, [1.25, 2.5, 30, 20]), (1, 1, [5, 6, 7, 8]), (2, 1, [0, 0, 64, 48])]


@pytest.mark.needs("any bytes in names")
def test_the_csv_has_a_row_for_each_detection(tmp_path):
    name = os.fsdecode(b'a, "\xff".png')
    write_detections_csv(tmp_path / "detections.csv", [*RECORDS, renamed(RECORDS[1], name)])
    head, *rows = rows_of(tmp_path / "detections.csv")
    assert head == ["file_name", "category", "score", "x0", "y0", "x1", "y1"]
    assert rows[0] == ["sub/b.png", "dog", "0.98765", "1.25", "2.5", "31.25", "22.5"]
    assert rows[3][0] == name
    assert len(rows) == 4


def test_names_like_formulas_stay_names(tmp_path):
    """As programs look for the files; docs/predict.md says what to do in a spreadsheet."""
    name = "=cmd|' /C calc'!A0.png"
    write_detections_csv(tmp_path / "detections.csv", [renamed(RECORDS[1], name)])
    assert rows_of(tmp_path / "detections.csv")[1][0] == name


def test_the_least_sure_images_are_listed_in_the_given_order(tmp_path):
    write_unsure_csv(tmp_path / "unsure.csv", [RECORDS[2], RECORDS[0]])
    assert rows_of(tmp_path / "unsure.csv") == [["file_name", "unsureness"], ["a.png", "0"], ["sub/b.png", "0"]]
