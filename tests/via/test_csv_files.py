"""Reading the CSV files of VIA 1 and 2."""

import csv
import io

import pytest
from annotations.via_files import SQUARE, Drawn, problem_of, via_csv, via_json
from projects import polygon

from viadet.via.annotation_files import read_annotation_file

HEADER = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
DRAWN = [
    Drawn("b.png", [(SQUARE, {"kind": 'a "kite", red'}), (SQUARE, {})]),
    Drawn("a.png", []),
    Drawn("b.png", [(SQUARE, {})], size=77),  # another image of this name, from another folder
]


def read(folder, text: str):
    (folder / "via.CSV").write_text(text, encoding="utf-8")
    return read_annotation_file(folder / "via.CSV")


def error_of(folder, text: str) -> str:
    (folder / "via.CSV").write_text(text, encoding="utf-8")
    return problem_of(folder / "via.CSV")


@pytest.mark.parametrize("comment", ["#", ""], ids=["VIA 1", "VIA 2"])
def test_csv_gives_the_same_as_json(tmp_path, comment):
    (tmp_path / "via.json").write_text(via_json(DRAWN), encoding="utf-8")
    assert read(tmp_path, via_csv(DRAWN, comment)) == read_annotation_file(tmp_path / "via.json")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_csv_saved_by_a_spreadsheet_gives_the_same(tmp_path, delimiter):
    expected = read(tmp_path, via_csv(DRAWN))
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(csv.reader(via_csv(DRAWN).splitlines()))  # also ends lines by \r\n
    assert read(tmp_path, "\ufeff" + text.getvalue() + delimiter * 6 + "\r\n\r\n") == expected


@pytest.mark.parametrize("first_line", ["sep=;", '"sep=;"', "SEP=;;;;;;;", "sep=,", "sep=|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_line_that_names_the_separator_for_excel_is_not_the_header(tmp_path, first_line, end):
    text = io.StringIO(newline="")
    delimiter = first_line.strip('"')[4]
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows(csv.reader(via_csv(DRAWN).splitlines()))
    assert read(tmp_path, "\ufeff" + first_line + end + text.getvalue()) == read(tmp_path, via_csv(DRAWN))
    damaged = HEADER.replace(",", delimiter) + "a.png"
    assert error_of(tmp_path, first_line + end + damaged).startswith(", row 3 has 1 cell, expected 7")


def test_a_bare_undefined_is_left_out(tmp_path):
    ellipse = '"{""name"":""ellipse"",""cx"":9,""cy"":9,""rx"":5,""ry"":4,""theta"":undefined}"'
    [image] = read(
        tmp_path, HEADER + f'a.png,undefined,undefined,1,0,{ellipse},"{{""note"":""undefined"",""b"":undefined}}"'
    )
    [region] = image.regions
    assert region["shape_attributes"] == {"name": "ellipse", "cx": 9, "cy": 9, "rx": 5, "ry": 4}
    assert region["region_attributes"] == {"note": "undefined"}
    assert image.size is None


def test_a_region_without_attributes_is_kept_for_the_report(tmp_path):
    [image] = read(tmp_path, HEADER + 'a.png,1,{},1,0,"{}",undefined')
    assert image.regions == [{"shape_attributes": {}, "region_attributes": {}}]


def test_a_name_with_commas_is_not_quoted_by_via(tmp_path):
    assert [image.file_name for image in read(tmp_path, via_csv([Drawn("a, b, c.png", [(SQUARE, {})])]))] == [
        "a, b, c.png"
    ]


def test_a_polygon_of_many_points_fits_into_a_cell(tmp_path):
    points = [(x, x % 7) for x in range(20_000)]
    [image] = read(tmp_path, via_csv([Drawn("a.png", [(polygon(*points), {})])]))
    assert len(image.regions[0]["shape_attributes"]["all_points_x"]) == 20_000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (" \n", " is not a VIA file: an empty file"),
        ("a,b\n1,2", " is not a VIA file: CSV without VIA's columns"),
        (HEADER.replace("file_size,", ""), " is not a VIA file: the first row lacks the columns file_size"),
        (HEADER + "a.png,1\nb.png,1", ", row 2 has 2 cells, expected 7; export the file again (and 1 more such place)"),
        (HEADER + ",1,{},1,0,{},{}", ", row 2 has the file name ''; give the image"),
        (
            HEADER + '"a\nb.png",1,{},0,0,{},{}',
            ", row 2 has control characters in the file name 'a\\nb.png'; rename the image",
        ),
        (
            HEADER + 'a.png,1,{},1,0,"{""name""",{}',
            ", row 2, region_shape_attributes is not valid JSON: Expecting ':' delimiter at line 1, column 8; "
            "export it again",
        ),
        (HEADER + "a.png,1,{},1,0,[],{}", ", row 2, region_shape_attributes is [], expected an object"),
        (
            HEADER + 'a.png,1,{},1,0,"{""x"":1,""x"":2}",{}',
            ", row 2, region_shape_attributes has the key 'x' twice in one object; delete one",
        ),
        (
            HEADER + "a.png,1,{},1,0," + "[" * 100_000 + ",{}",
            ", row 2, region_shape_attributes can't be read as JSON",
        ),
        (HEADER + 'a.png,1,{},1,0,"{""name', ", row 2 has 6 cells, expected 7"),
    ],
    ids=range(11),
)
def test_a_file_that_is_not_a_via_file_is_named_with_row_and_reason(text, reason, tmp_path):
    assert error_of(tmp_path, text).startswith(reason)
