"""Reading the JSON files of VIA 1 and 2: all forms that VIA writes; anything else is refused by name."""

import json

import pytest
from annotations.via_files import SQUARE, Drawn, problem_of, via2_project, via_json
from projects import via_entry

from viadet.via.annotation_files import read_annotation_file
from viadet.via.images import ViaImage

DRAWN = [Drawn("b.png", [(SQUARE, {"kind": "kite"}), (SQUARE, {})]), Drawn("a.png", [])]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_regions_as_an_object_as_a_list_and_in_a_project_give_the_same(tmp_path, mark):
    as_list = json.dumps(list(json.loads(via_json(DRAWN)).values()))
    for text in (via_json(DRAWN), via_json(DRAWN, as_object=True), as_list, via2_project(DRAWN)):
        (tmp_path / "via.json").write_bytes(mark + text.encode())
        assert read_annotation_file(tmp_path / "via.json") == [
            ViaImage(
                "b.png",
                [
                    {"shape_attributes": SQUARE, "region_attributes": {"kind": "kite"}},
                    {"shape_attributes": SQUARE, "region_attributes": {}},
                ],
                1000,
            ),
            ViaImage("a.png", [], 1000),
        ]


def test_a_size_that_via_did_not_know_is_none(tmp_path):
    entries = [via_entry("a.png") | {"size": size} for size in (-1, None, "12", True)]
    (tmp_path / "via.json").write_text(json.dumps([*entries, {"filename": "a.png", "regions": []}]), encoding="utf-8")
    assert [image.size for image in read_annotation_file(tmp_path / "via.json")] == [None] * 5


@pytest.mark.parametrize(
    "name", ["a b (1).png", "Ballon à Öhringen.png", "سیب\u200cزمینی.png", "C:\\x\\a.png", "http://x/a"]
)
def test_names_in_any_script_paths_and_urls_are_kept_as_written(tmp_path, name):
    (tmp_path / "via.json").write_text(via_json([Drawn(name, [])]), encoding="utf-8")
    assert [image.file_name for image in read_annotation_file(tmp_path / "via.json")] == [name]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"shape_attributes": {"name": "rec', " is not valid JSON: Unterminated string starting at line 1, column 31"),
        ('{"a": {"filename": "a.png", "regi', " is not a VIA file: not valid JSON"),
        ("", " is not a VIA file: an empty file"),
        ("[1, 2]", " is not a VIA file: JSON without VIA's annotations"),
        ('"text"', " is not a VIA file: JSON without VIA's annotations"),
        ('{"a": {"filename": "a.png"}}', " is not a VIA file: JSON without VIA's annotations"),
        (
            '[{"filename": "a.png", "regions": []}, 1, {"filename": "a.png"}]',
            ", image 2 is 1, expected filename and regions (and 1 more such place)",
        ),
        (
            '{"_via_img_metadata": 1}',
            " is not a VIA file: expected one entry per image, each with filename and regions",
        ),
        (
            '[{"filename": "a\\nb.png", "regions": []}]',
            ", image 1 has control characters in the file name 'a\\nb.png'; rename the image",
        ),
        (
            '[{"filename": "\\ud800", "regions": []}]',
            ", image 1 has control characters in the file name '\\ud800'; rename the image",
        ),
        ('[{"filename": " ", "regions": []}]', ", image 1 has the file name ' '"),
        (
            '{"a": {"filename": "a.png", "regions": 3}}',
            ", image 1, 'a.png' has 3 in regions, expected a list or an object",
        ),
        (
            '{"v": {"filename": "a.png", "filename": "b.png", "shape_attributes": {}}}',
            " has the key 'filename' twice in one object; delete one",
        ),
        ('["shape_attributes", ' + "[" * 100_000, " can't be read as JSON"),
        ('["shape_attributes", ' + "9" * 5000 + "]", " can't be read as JSON"),
        ('{"_via_img_metadata": {"a": 1}}', ", image 1 is 1, expected filename and regions"),
    ],
    ids=range(16),
)
def test_a_file_that_is_not_a_via_file_is_named_with_the_reason(text, reason, tmp_path):
    (tmp_path / "via.json").write_text(text, encoding="utf-8")
    assert problem_of(tmp_path / "via.json").startswith(reason)


def test_a_value_nested_to_the_limit_is_named(tmp_path):
    for depth in range(940, 1000, 3):  # somewhere below the limit, json can read it, but `repr` can't write it
        (tmp_path / "via.json").write_text(
            '{"_via_img_metadata": {"a": ' + "[" * depth + "]" * depth + "}}", encoding="utf-8"
        )
        assert problem_of(tmp_path / "via.json").startswith((", image 1 is ", " can't be read as JSON"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "latin-1"])
def test_a_file_that_is_not_utf_8_or_missing_is_named(tmp_path, encoding):
    (tmp_path / "via.json").write_bytes(via_json([Drawn("Bäume.png", [(SQUARE, {})])]).encode(encoding))
    error = problem_of(tmp_path / "via.json")
    assert error.startswith(" can't be read as UTF-8") and error.endswith("export it again, or save it as UTF-8")
    assert "No such file" in problem_of(tmp_path / "missing.json")
