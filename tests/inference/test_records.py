"""Records of many images, and the tables written from them."""

import csv
import os

import pytest
from inference.test_via_files import CATEGORIES, RECORDS
from pycocotools.coco import COCO

from viadet.inference.records import Records, write_coco, write_detections_csv, write_unsure_csv


@pytest.fixture
def records(tmp_path):
    with Records(tmp_path) as records:
        for record in RECORDS:
            records.add(record)
        yield records


def rows_of(path):
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.reader(file))


def test_records_are_read_again_in_any_order_and_their_file_has_no_name(records, tmp_path):
    assert len(records) == 3
    assert list(records.read()) == RECORDS
    assert list(records.read([2, 0])) == [RECORDS[2], RECORDS[0]]
    records.add(RECORDS[0])  # also after reading
    assert list(records.read()) == [*RECORDS, RECORDS[0]]
    assert list(tmp_path.iterdir()) == []


def test_pycocotools_reads_images_and_results(records, tmp_path):
    write_coco(tmp_path, records, CATEGORIES)
    results = COCO(tmp_path / "coco_images.json").loadRes(str(tmp_path / "coco_results.json"))
    assert [image["file_name"] for image in results.dataset["images"]] == [entry["file_name"] for entry in RECORDS]
    assert results.dataset["images"][0] | {"width": 64, "height": 48, "id": 1} == results.dataset["images"][0]
    assert [category["name"] for category in results.loadCats([1, 2])] == CATEGORIES
    found = [(entry["image_id"], entry["category_id"], entry["bbox"]) for entry in results.dataset["annotations"]]
    assert found == [(1, 2, [1.25, 2.5, 30, 20]), (1, 1, [5, 6, 7, 8]), (2, 1, [0, 0, 64, 48])]


def test_the_csv_has_a_row_for_each_detection(records, tmp_path):
    records.add(RECORDS[1] | {"file_name": os.fsdecode(b'a, "\xff".png')})
    write_detections_csv(tmp_path / "detections.csv", records, CATEGORIES)
    head, *rows = rows_of(tmp_path / "detections.csv")
    assert head == ["file_name", "category", "score", "x0", "y0", "x1", "y1"]
    assert rows[0] == ["sub/b.png", "dog", "0.98765", "1.25", "2.5", "31.25", "22.5"]
    assert rows[3][0] == os.fsdecode(b'a, "\xff".png')
    assert len(rows) == 4


def test_the_least_sure_images_are_listed_in_the_given_order(records, tmp_path):
    write_unsure_csv(tmp_path / "unsure.csv", records, [2, 0])
    assert rows_of(tmp_path / "unsure.csv") == [["file_name", "unsureness"], ["a.png", "0"], ["sub/b.png", "0"]]
