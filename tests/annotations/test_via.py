"""Reading VIA files: all forms that VIA writes; anything else is refused by name."""

import json

import pytest
from annotations.via_files import SQUARE
from projects import via_entry

from viadet.annotations.via import read_via
from viadet.project.errors import UserError


def error_of(path) -> str:
    with pytest.raises(UserError) as error:
        read_via(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(str(path))


def test_regions_as_an_object_as_a_list_and_in_a_project_give_the_same(tmp_path):
    entry = via_entry("a.png", SQUARE, SQUARE)
    as_object = {**entry, "regions": {str(i): region for i, region in enumerate(entry["regions"])}}
    for data in ({"a": entry}, {"a": as_object}, [entry], {"_via_settings": {}, "_via_img_metadata": {"a": entry}}):
        (tmp_path / "via.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(data).encode())
        assert read_via(tmp_path / "via.json") == [("a.png", entry["regions"])]


def test_images_are_sorted_by_file_name(tmp_path):
    (tmp_path / "via.json").write_text(json.dumps([via_entry(name) for name in ("b.png", "a.png", "B.png")]))
    assert [image.file_name for image in read_via(tmp_path / "via.json")] == ["B.png", "a.png", "b.png"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": {"filename": "a.png", "regi', " is not valid JSON: Unterminated string"),
        ("", " is not valid JSON: Expecting value at line 1, column 1; export it again"),
        ("[1, 2]", " is not a VIA file: expected filename and regions, got 1"),
        ('"text"', " is not a VIA file: expected one entry per image, each with filename and regions"),
        ("{}", " is not a VIA file"),
        (
            '{"a": {"filename": "a.png"}}',
            " is not a VIA file: expected filename and regions, got {'filename': 'a.png'}",
        ),
        ('{"a": {"filename": "../a.png", "regions": []}}', ": filename '../a.png' is not a plain file name"),
        ('[{"filename": "a\\nb.png", "regions": []}]', ": filename 'a\\nb.png' is not a plain file name"),
        ('{"a": {"filename": "a.png", "regions": 3}}', ", a.png: regions is 3, expected a list or an object"),
        (
            '[{"filename": "a.png", "regions": []}, {"filename": "a.png", "regions": []}]',
            ": a.png is annotated 2 times",
        ),
        (
            '{"v": {"filename": "a.png", "filename": "b.png"}}',
            " has the key 'filename' twice in one object; delete one",
        ),
        ("[" * 100_000, " can't be read as UTF-8 JSON"),
        ("[" + "9" * 5000 + "]", " can't be read as UTF-8 JSON"),
    ],
)
def test_a_file_that_is_not_a_via_file_is_named_with_the_reason(text, reason, tmp_path):
    (tmp_path / "via.json").write_text(text)
    assert error_of(tmp_path / "via.json").startswith(reason)


def test_a_file_that_is_not_utf_8_or_missing_is_named(tmp_path):
    (tmp_path / "via.json").write_bytes(json.dumps([via_entry("a.png", SQUARE)]).encode("utf-16"))
    assert "can't be read as UTF-8 JSON" in error_of(tmp_path / "via.json")
    assert "No such file" in error_of(tmp_path / "missing.json")
