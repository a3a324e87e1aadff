"""Finding VIA's files by their content."""

import json
import sys
from pathlib import Path

import pytest
from annotations.via_files import SQUARE, Drawn, files_of, via2_project, via3_csv, via3_project, via_csv, via_json

DRAWN = [Drawn("a.png", [(SQUARE, {})])]


def test_all_formats_are_found_in_any_depth_and_case(tmp_path):
    texts = [
        via_json(DRAWN),
        via2_project(DRAWN),
        via3_project(DRAWN),
        via_csv(DRAWN),
        via_csv(DRAWN, "#"),
        via3_csv(DRAWN),
    ]
    names = ["b/VIA.JSON", "b/c/d.Json", "e.json", "b/f.csv", "G.CSV", "h/i.csv"]
    for name, text in zip(names, texts, strict=True):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = files_of(tmp_path)
    assert sorted(files.images) == sorted(names)
    assert all([image.file_name for image in images] == ["a.png"] for images in files.images.values())
    assert (files.damaged, files.others) == ({}, {})


def test_other_files_are_not_found_but_described(tmp_path):
    kinds = {
        "package.json": ('{"name": "x", "version": "1"}', "JSON without VIA's annotations"),
        "labels.json": ('["dog", "cat"]', "JSON without VIA's annotations"),
        "empty.json": ("{}", "JSON without VIA's annotations"),
        "attributes.json": ('{"region": {"kind": {"type": "text"}}, "file": {}}', "JSON without VIA's annotations"),
        "coco.json": (json.dumps({"images": [{"file_name": "a.png"}], "annotations": []}), "COCO annotations"),
        "broken.json": ('{"a":', "not valid JSON"),
        "table.csv": ("a,b\n1,2", "CSV without VIA's columns"),
        "segments.csv": (
            "# CSV_HEADER = metadata_id,file_list,temporal_segment_start,temporal_segment_end,metadata",
            "VIA 3's temporal segments",
        ),
        "nothing.csv": ("", "an empty file"),
        "nothing.json": ("\n", "an empty file"),
        "readme.txt": (via_json(DRAWN), None),
        ".hidden.json": (via_json(DRAWN), None),
        "__MACOSX/via.json": (via_json(DRAWN), None),
        ".git/via.json": (via_json(DRAWN), None),
    }
    for name, (text, _) in kinds.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "utf16.csv").write_bytes("a,b".encode("utf-16"))
    expected = {name: kind for name, (_, kind) in kinds.items() if kind}
    assert files_of(tmp_path) == ({}, {}, expected | {"utf16.csv": "not UTF-8 text"})


@pytest.mark.parametrize("write_format", [via_json, via2_project, via3_project])
def test_a_file_of_via_that_was_cut_off_is_damaged_and_no_other_file(tmp_path, write_format):
    path = tmp_path / "via.json"
    path.write_text(write_format(DRAWN)[:-5], encoding="utf-8")
    files = files_of(tmp_path)
    assert (files.images, files.others) == ({"via.json": []}, {})
    assert str(files.damaged["via.json"]).startswith("is not valid JSON")


def test_each_file_is_read_and_parsed_once(tmp_path, monkeypatch):
    for name, write_format in (("a.json", via_json), ("b.json", via3_project), ("c.csv", via_csv), ("d.csv", via3_csv)):
        (tmp_path / name).write_text(write_format(DRAWN), encoding="utf-8")
    (tmp_path / "coco.json").write_text("{}", encoding="utf-8")
    opened = []
    sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" else None)
    files_of(tmp_path)
    files_read = [Path(path).name for path in opened if str(path).startswith(str(tmp_path))]
    assert sorted(files_read) == ["a.json", "b.json", "c.csv", "coco.json", "d.csv"]


@pytest.mark.needs("symlinks")
def test_a_linked_folder_is_searched_once(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/via.json").write_text(via_json(DRAWN), encoding="utf-8")
    (tmp_path / "real/loop").symlink_to(tmp_path / "real")
    (tmp_path / "own").symlink_to(tmp_path / "real")
    assert list(files_of(tmp_path / "own").images) == ["via.json"]
    (tmp_path / "top").mkdir()
    (tmp_path / "top/train").symlink_to(tmp_path / "real")
    assert list(files_of(tmp_path / "top").images) == ["train/via.json"]
