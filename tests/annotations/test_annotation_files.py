"""Finding VIA's files by their content."""

import json

import pytest
from annotations.via_files import SQUARE, Drawn, via2_project, via3_csv, via3_project, via_csv, via_json

from viadet.annotations.annotation_files import find_annotation_files, other_files

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
        (tmp_path / name).write_text(text)
    assert sorted(find_annotation_files(tmp_path)) == sorted(tmp_path / name for name in names)
    assert other_files(tmp_path) == {}


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
        "nothing.csv": ("", "CSV without VIA's columns"),
        "readme.txt": (via_json(DRAWN), None),
        ".hidden.json": (via_json(DRAWN), None),
        "__MACOSX/via.json": (via_json(DRAWN), None),
        ".git/via.json": (via_json(DRAWN), None),
    }
    for name, (text, _) in kinds.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "utf16.csv").write_bytes(via_csv(DRAWN).encode("utf-16"))
    assert find_annotation_files(tmp_path) == []
    expected = {tmp_path / name: kind for name, (_, kind) in kinds.items() if kind}
    assert other_files(tmp_path) == expected | {tmp_path / "utf16.csv": "not UTF-8 text"}


@pytest.mark.parametrize("write_format", [via_json, via2_project, via3_project])
def test_a_file_of_via_that_was_cut_off_is_found_so_that_reading_it_tells(tmp_path, write_format):
    text = write_format(DRAWN)
    (tmp_path / "via.json").write_text(text[:-5])
    assert find_annotation_files(tmp_path) == [tmp_path / "via.json"]


def test_a_linked_folder_is_searched_once(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/via.json").write_text(via_json(DRAWN))
    (tmp_path / "real/loop").symlink_to(tmp_path / "real")
    (tmp_path / "own").symlink_to(tmp_path / "real")
    assert find_annotation_files(tmp_path / "own") == [tmp_path / "own/via.json"]
    (tmp_path / "top").mkdir()
    (tmp_path / "top/train").symlink_to(tmp_path / "real")
    assert find_annotation_files(tmp_path / "top") == [tmp_path / "top/train/via.json"]
