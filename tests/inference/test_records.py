"""Records of many images, and the tables written from them."""

import csv
import os
import shutil

import pytest
from inference.test_via_files import CATEGORIES, RECORDS
from projects import REPOSITORY
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


def test_records_are_read_again_in_any_order(records):
    assert len(records) == 3
    assert list(records.read()) == RECORDS
    assert list(records.read([2, 0])) == [RECORDS[2], RECORDS[0]]
    records.add(RECORDS[0])  # also after reading
    assert list(records.read()) == [*RECORDS, RECORDS[0]]


@pytest.mark.needs("posix")
def test_the_file_of_records_has_no_name_so_that_even_a_killed_process_leaves_none(records, tmp_path):
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_records_is_gone_at_the_end(tmp_path):
    with Records(tmp_path) as records:
        records.add(RECORDS[0])
    assert list(tmp_path.iterdir()) == []


def test_pycocotools_reads_images_and_results(records, tmp_path):
    write_coco(tmp_path, records, CATEGORIES)
    results = COCO(tmp_path / "coco_images.json").loadRes(str(tmp_path / "coco_results.json"))
    assert [image["file_name"] for image in results.dataset["images"]] == [entry["file_name"] for entry in RECORDS]
    assert results.dataset["images"][0] | {"width": 64, "height": 48, "id": 1} == results.dataset["images"][0]
    assert [category["name"] for category in results.loadCats([1, 2])] == CATEGORIES
    found = [(entry["image_id"], entry["category_id"], entry["bbox"]) for entry in results.dataset["annotations"]]
    assert found == [(1, 2, [1.25, 2.5, 30, 20]), (1, 1, [5, 6, 7, 8]), (2, 1, [0, 0, 64, 48])]


@pytest.mark.needs("any bytes in names")
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


@pytest.mark.parametrize("document", ["README.md", "docs/predict.md"])
def test_the_documented_line_moves_the_listed_images_and_replaces_none(document, records, tmp_path, monkeypatch):
    lines = (REPOSITORY / document).read_text(encoding="utf-8").splitlines()
    [program] = [line.split("'")[1] for line in lines if line.startswith("python -c 'import csv, shutil;")]
    monkeypatch.chdir(tmp_path)
    records.add(RECORDS[2] | {"file_name": 'ä, "b".png'})
    names = [record["file_name"] for record in records.read()]
    for name in (*names, "other.png"):
        path = tmp_path / "data/own/new" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    (tmp_path / "data/own/round_1").mkdir()
    (tmp_path / "to_correct").mkdir()
    write_unsure_csv(tmp_path / "to_correct/unsure.csv", records, range(len(names)))
    exec(program, {})
    moved = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "data/own/round_1").iterdir()}
    assert moved == {name.rpartition("/")[2]: name for name in names}
    assert [path.name for path in (tmp_path / "data/own/new").rglob("*.png")] == ["other.png"]

    (tmp_path / "data/own/new/a.png").write_text("another image", encoding="utf-8")
    write_unsure_csv(tmp_path / "to_correct/unsure.csv", records, [2])
    with pytest.raises(shutil.Error, match="already exists"):
        exec(program, {})
    assert (tmp_path / "data/own/round_1/a.png").read_text(encoding="utf-8") == "a.png"
