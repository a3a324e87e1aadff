"""Reading VIA 3: projects of images and its CSV files."""

import json

import pytest
from annotations.via_files import SQUARE, Drawn, dump, problem_of, via3_csv, via3_project, via_json
from projects import polygon

from viadet.via.annotation_files import read_annotation_file
from viadet.via.images import ViaImage
from viadet.via.shapes import outline_of

SHAPES = [
    SQUARE,
    {**polygon((0, 0), (9, 1), (9, 9)), "name": "polyline"},
    {"name": "rect", "x": 1, "y": 2, "width": 30, "height": 40},
    {"name": "circle", "cx": 30, "cy": 31, "r": 12.5},
    {"name": "ellipse", "cx": 30, "cy": 31, "rx": 12, "ry": 5},
    {"name": "point", "cx": 3, "cy": 4},
]
DRAWN = [
    Drawn("b.png", [(shape, {"kind": "kite", "parts": {"tail": True, "line": True}}) for shape in SHAPES]),
    Drawn("a.png", [(SQUARE, {})]),
]


def project_of(**changes) -> dict:
    return json.loads(via3_project([Drawn("a.png", [(SQUARE, {"kind": "kite"})])])) | changes


def write(folder, content: str | dict, name: str) -> None:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def read(folder, content: str | dict, name: str = "via.json"):
    write(folder, content, name)
    return read_annotation_file(folder / name)


def error_of(folder, content: str | dict, name: str = "via.json") -> str:
    write(folder, content, name)
    return problem_of(folder / name)


def test_a_project_and_its_csv_give_the_regions_of_via_2(tmp_path):
    expected = [image[:2] for image in read(tmp_path, via_json(DRAWN))]
    assert [image[:2] for image in read(tmp_path, via3_project(DRAWN))] == expected
    assert [image[:2] for image in read(tmp_path, via3_csv(DRAWN), "via.csv")] == expected


def test_an_image_without_regions_is_in_the_project(tmp_path):
    project = project_of(
        metadata={"1_note": {"vid": 1, "z": [], "xy": [], "av": {"1": "a caption of the whole image"}}}
    )
    assert read(tmp_path, project) == [ViaImage("a.png", [])]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"loc": 1}, "a.png"),
        ({"loc": 2, "src": "http://x/b.png"}, "http://x/b.png"),
        ({"loc": 3, "src": "c/d.png"}, "c/d.png"),
    ],
)
def test_the_name_is_the_path_or_url_unless_the_file_is_local(tmp_path, changes, name):
    text = via3_project([Drawn("a.png", [])], changes)
    assert [image.file_name for image in read(tmp_path, text)] == [name]


def test_an_option_without_a_label_keeps_its_id_as_in_a_project_that_came_from_via_2(tmp_path):
    attribute = {"aname": "kind", "type": 4, "options": {"dog": "", "cat": "Cat"}}
    for option, value in (("dog", "dog"), ("cat", "Cat"), ("cow", "cow")):
        project = project_of(attribute={"1": attribute})
        project["metadata"]["1_0"]["av"] = {"1": option}
        assert read(tmp_path, project)[0].regions[0]["region_attributes"] == {"kind": value}


def test_of_two_attributes_with_one_name_none_is_lost(tmp_path):
    attribute = {"aname": "kind", "anchor_id": "FILE1_Z0_XY1", "type": 1, "options": {}}
    of_files = attribute | {"anchor_id": "FILE1_Z0_XY0"}
    attributes = {"1": attribute, "2": attribute, "3": attribute | {"aname": "size"}, "4": of_files | {"aname": "size"}}
    project = project_of(attribute=attributes)
    project["metadata"]["1_0"]["av"] = {"1": "cat", "2": "dog", "3": "large"}
    values = {"kind (1)": "cat", "kind (2)": "dog", "size": "large"}
    assert read(tmp_path, project)[0].regions[0]["region_attributes"] == values
    row = '"m","[""a.png""]",0,[],"[2,1,1,9,9]","{""1"":""cat"",""2"":""dog"",""3"":""large""}"'
    text = HEADER + f"# ATTRIBUTE = {dump(attributes)}\n{row}"
    assert read(tmp_path, text, "via.csv")[0].regions[0]["region_attributes"] == values
    assert read(tmp_path, "sep=,\n" + text, "via.csv")[0].regions[0]["region_attributes"] == values


def test_extreme_points_give_their_rectangle_and_circle(tmp_path):
    project = project_of()
    project["metadata"] = {
        "a": {"vid": "1", "z": [], "xy": [8, 10, 25, 20, 20, 50, 30, 30, 80], "av": {}},
        "b": {"vid": "1", "z": [], "xy": [9, 30, 20, 40, 30, 30, 40], "av": {}},
    }
    rectangle, circle = map(outline_of, read(tmp_path, project)[0].regions)
    assert rectangle == [(10, 20), (50, 20), (50, 80), (10, 80)]
    # the circle around (30, 30) with radius 10
    assert (min(x for x, _ in circle), max(y for _, y in circle)) == pytest.approx((20, 40))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"view": {"1": {"fid_list": ["1", "2"]}}}, ", view '1' shows ['1', '2'], expected one file"),
        ({"view": {"1": 5, "2": 6}}, ", view '1' shows None, expected one file (and 1 more such place)"),
        ({"view": {"1": {"fid_list": [7]}}}, ", view '1' shows the file 7, which the project lacks"),
        (
            {"file": {"1": {"fname": "a.mp4", "type": 4}}},
            ", view '1' shows 'a.mp4', which is video or audio; only images can be used",
        ),
        (
            {"file": {"1": {"type": 2, "loc": 1}}},
            ", view '1' has the file name None; give the image the name of its file",
        ),
        (
            {"metadata": {"m": {"vid": "9", "xy": []}}},
            ", metadata 'm' is {'vid': '9', 'xy': []}, expected vid, xy and av",
        ),
        (
            {"metadata": {"m": {"vid": "1", "xy": 3}}},
            ", metadata 'm' is {'vid': '1', 'xy': 3}, expected vid, xy and av",
        ),
    ],
    ids=range(7),
)
def test_a_damaged_project_is_named_with_the_place(tmp_path, changes, reason):
    assert error_of(tmp_path, project_of(**changes)).startswith(reason)


HEADER = "# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            HEADER.replace("file_list,", ""),
            " is changed: its CSV_HEADER lacks the columns file_list; export",
        ),
        (HEADER + "# ATTRIBUTE = {\n", ", the comment ATTRIBUTE is not valid JSON"),
        (HEADER + "# ATTRIBUTE = 3\n", ", the comment ATTRIBUTE is 3, expected an object"),
        (HEADER + '"m","[""a.png""]",0', ", row 1 below the comments has 3 cells, expected 6"),
        (
            HEADER + '"m","[""a"",""b""]",0,[],[],{}',
            ", row 1 below the comments, file_list is ['a', 'b'], expected",
        ),
        (HEADER + '"m","[""a.mp4""]",0,[1.5],"[1,2,3]",{}', ", row 1 below the comments is a part of a video"),
        (
            HEADER + '"m","[""a.png""]",0,[],{},{}',
            ", row 1 below the comments, spatial_coordinates is {}, expected",
        ),
    ],
    ids=range(7),
)
def test_a_damaged_csv_is_named_with_the_place(tmp_path, text, reason):
    assert error_of(tmp_path, text, "via.csv").startswith(reason)


def test_a_shape_that_is_unknown_or_no_number_is_kept_for_the_report(tmp_path):
    project = project_of()
    project["metadata"] = {str(n): {"vid": "1", "xy": [shape, 1], "av": {}} for n, shape in enumerate([12, "7", [7]])}
    shapes = [region["shape_attributes"] for region in read(tmp_path, dump(project))[0].regions]
    assert [shape["name"] for shape in shapes] == [12, "7", [7]]
