"""Any annotation file gives COCO JSON that pycocotools reads, or one line that names it; all formats are equal."""

import contextlib
import io
import itertools
import json
import math
from pathlib import Path

import pytest
from annotations.via_files import (
    Drawn,
    convert_params,
    dump,
    files_of,
    via2_project,
    via3_csv,
    via3_project,
    via_csv,
    via_json,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from projects import REPOSITORY, polygon, via_entry
from pycocotools.coco import COCO

from viadet.annotations.coco import box_and_outline, to_coco
from viadet.annotations.convert import check_has_boxes, convert_data_set
from viadet.annotations.faults import group_faults, raise_faults
from viadet.project.errors import UserError
from viadet.project.files import write_json
from viadet.via.annotation_files import read_annotation_file
from viadet.via.images import UnusableError
from viadet.via.shapes import clip_outline, outline_of

SIZES_WH = {"a.png": (64, 48), "b.png": (30, 40)}
CORPUS = REPOSITORY / "tests/annotations/corpus/via"
VALID = {"v": via_entry("a.png", polygon((1, 1), (9, 1), (9, 9)), attributes={"kind": "balloon"})}

# JSON values that are not what is expected
odd_values = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=8),
    st.floats(),
    st.integers(-(10**400), 10**400),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def mostly(good: st.SearchStrategy, odd: st.SearchStrategy = odd_values) -> st.SearchStrategy:
    """Valid values, and one in twenty times an odd one."""
    return st.integers(0, 19).flatmap(lambda roll: odd if roll == 13 else good)


def json_object(**values: st.SearchStrategy) -> st.SearchStrategy:
    """An object, and one in twenty times one with missing keys or something else."""
    whole = st.fixed_dictionaries(values)
    return mostly(whole, st.fixed_dictionaries({}, optional=values) | odd_values)


px = mostly(st.integers(-5, 70) | st.floats(-5, 70))
size = mostly(st.integers(1, 40) | st.floats(0.5, 40))
points = st.integers(3, 8).flatmap(lambda count: st.lists(px, min_size=count, max_size=count))
regions = json_object(
    shape_attributes=st.one_of(
        points.flatmap(
            lambda xs: json_object(
                name=st.just("polygon"),
                all_points_x=st.just(xs),
                all_points_y=mostly(st.lists(px, min_size=len(xs), max_size=len(xs)), st.lists(px, max_size=6)),
            )
        ),
        json_object(name=st.just("rect"), x=px, y=px, width=size, height=size),
        json_object(name=st.just("circle"), cx=px, cy=px, r=size),
        json_object(name=st.just("ellipse"), cx=px, cy=px, rx=size, ry=size, theta=mostly(st.floats(-7, 7))),
    ),
    region_attributes=json_object(kind=mostly(st.just("balloon"), st.just("other"))),
)
odd_names = st.sampled_from([*SIZES_WH, "../a.png", "c.png", "A.PNG", "a.png\0", ".", "http://x/a.png"]) | odd_values
region_lists = st.lists(regions, max_size=4)
region_objects = region_lists.map(lambda regions: {str(number): region for number, region in enumerate(regions)})


def image_entry(name: str) -> st.SearchStrategy:
    return json_object(filename=mostly(st.just(name), odd_names), regions=mostly(region_lists | region_objects))


image_objects = st.fixed_dictionaries({"1": image_entry("a.png")}, optional={"2": image_entry("b.png")})
json_files = mostly(
    st.one_of(
        image_objects,
        image_objects.map(lambda entries: list(entries.values())),
        image_objects.map(lambda entries: {"_via_img_metadata": entries, "_via_settings": {}}),
    )
)
via3_files = json_object(
    view=json_object(**{"1": json_object(fid_list=mostly(st.just(["1"])))}),
    file=json_object(
        **{"1": json_object(fname=mostly(st.just("a.png"), odd_names), loc=st.integers(1, 4), src=odd_names)}
    ),
    attribute=json_object(
        **{"1": json_object(aname=mostly(st.just("kind")), type=st.integers(1, 5), options=json_object(x=st.text()))}
    ),
    metadata=st.dictionaries(
        st.text(max_size=3),
        json_object(
            vid=mostly(st.just("1")),
            z=mostly(st.just([])),
            xy=mostly(st.tuples(st.integers(0, 10), st.lists(px, max_size=9)).map(lambda xy: [xy[0], *xy[1]])),
            av=json_object(**{"1": mostly(st.just("balloon"))}),
        ),
        max_size=3,
    ),
)
cells = st.one_of(
    regions.map(lambda region: dump(region.get("shape_attributes") if isinstance(region, dict) else region)),
    st.sampled_from(
        ["{}", "undefined", '{"kind":"balloon","x":undefined}', "", "[", '{"name":"rect","x":1', "0", "-1"]
    ),
    odd_values.map(dump),
)
names = mostly(st.sampled_from(list(SIZES_WH)), st.text(max_size=6))
rows = st.tuples(names, cells, cells, st.sampled_from(["0", "1", ""]), cells, cells, cells)


def csv_of(rows: list[tuple[str, ...]]) -> str:
    quoted = [",".join([name, *('"' + cell.replace('"', '""') + '"' for cell in others)]) for name, *others in rows]
    return "\n".join([via_csv([]), *quoted])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two images; each check writes another annotation file."""
    folder = tmp_path_factory.mktemp("data")
    for name, size_wh in SIZES_WH.items():
        Image.new("RGB", size_wh).save(folder / name)
    return folder


def check(folder: Path, content: bytes, name: str = "via.json", **changes: str | None) -> str | None:
    """Convert; returns the error's line, or None where COCO JSON was written."""
    for path in (folder / "via.json", folder / "via.csv"):
        path.unlink(missing_ok=True)
    (folder / name).write_bytes(content)
    params = convert_params(**changes)
    try:
        data_set = convert_data_set(folder, "data/own", params)
        for fault in data_set.faults:
            sentence = fault.sentence
            assert sentence.startswith("data/own")
            assert len(sentence.splitlines()) == 1
        raise_faults(group_faults(data_set.faults, params), data_set.origin)
        check_has_boxes(data_set, params)
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        assert "data/own" in str(error)
        assert str(folder) not in str(error)
        return str(error)
    write_json(folder.parent / "coco.json", to_coco(data_set.images, data_set.categories.names))
    check_coco(folder.parent / "coco.json")
    return None


def check_coco(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
        truth = coco.loadAnns(coco.getAnnIds())
        keys = ("image_id", "category_id", "bbox")
        coco.loadRes([{key: entry[key] for key in keys} | {"score": 1.0} for entry in truth])
    assert [entry["id"] for entry in truth] == list(range(1, len(truth) + 1))
    for entry in truth:
        x, y, width, height = entry["bbox"]
        image = coco.imgs[entry["image_id"]]
        assert SIZES_WH[Path(image["file_name"]).name] == (image["width"], image["height"])
        assert x >= 0 and y >= 0 and width > 0 and height > 0
        assert x + width <= image["width"] + 1e-9
        assert y + height <= image["height"] + 1e-9
        assert math.isfinite(entry["area"]) and entry["area"] == pytest.approx(width * height)
        assert coco.annToMask(entry).shape == (image["height"], image["width"])


LARGE_CIRCLE = {"v": via_entry("a.png", {"name": "circle", "cx": 1e308, "cy": 1e308, "r": 1e308})}
modes = st.sampled_from(
    [{}, {"bad_regions": "skip", "attribute": "kind"}, {"bad_regions": "skip"}, {"attribute": "auto"}]
)
quick = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@quick
@given(json_files, modes, st.sampled_from(["utf-8", "utf-8-sig"]))
@example(VALID, {"attribute": "kind"}, "utf-8")
@example(LARGE_CIRCLE, {}, "utf-8")
def test_any_structure_of_via_1_and_2_gives_coco_json_or_one_line(folder, data, changes, encoding):
    check(folder, json.dumps(data).encode(encoding), **changes)


@quick
@given(via3_files, modes)
def test_any_structure_of_via_3_gives_coco_json_or_one_line(folder, data, changes):
    check(folder, json.dumps(data).encode(), **changes)


@quick
@given(st.lists(rows, max_size=4), modes)
def test_any_csv_gives_coco_json_or_one_line(folder, table, changes):
    check(folder, csv_of(table).encode("utf-8", "surrogatepass"), "via.csv", **changes)


@quick
@given(st.lists(regions, min_size=1, max_size=4))
def test_the_error_of_a_region_names_file_image_and_region(folder, region_list):
    line = check(folder, json.dumps({"v": via_entry("a.png") | {"regions": region_list}}).encode())
    if line is not None:
        assert "data/own/via.json, a.png, region " in line


@quick
@given(st.binary(max_size=200), st.sampled_from(["via.json", "via.csv"]))
@example(json.dumps(VALID).encode("utf-16"), "via.json")
@example(json.dumps(VALID | {"w": via_entry("é.png")}, ensure_ascii=False).encode("latin-1"), "via.json")
@example(b"[" * 100_000, "via.json")
@example(b'{"a":' * 100_000, "via.json")
@example(b"\xef\xbb\xbf" * 2, "via.csv")
@example(b"1" * 100_000, "via.json")
def test_bytes_that_are_not_a_via_file_give_one_line(folder, data, name):
    assert check(folder, data, name) is not None


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name[:12])
def test_an_input_of_the_fuzzer_is_converted_or_refused(folder, path):
    for name, changes in itertools.product(("via.json", "via.csv"), ({}, {"attribute": "kind", "bad_regions": "skip"})):
        check(folder, path.read_bytes(), name, **changes)


numbers = st.integers(-20, 90) | st.integers(-20_000, 90_000).map(lambda value: value / 1000)
lengths = st.integers(1, 60) | st.integers(1, 60_000).map(lambda value: value / 1000)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8) | st.just("undefined")
point_lists = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8)
drawn_shapes = st.one_of(
    point_lists.map(lambda points: polygon(*points)),
    point_lists.map(lambda points: polygon(*points) | {"name": "polyline"}),
    st.fixed_dictionaries({"name": st.just("rect"), "x": numbers, "y": numbers, "width": lengths, "height": lengths}),
    st.fixed_dictionaries({"name": st.just("circle"), "cx": numbers, "cy": numbers, "r": lengths}),
    st.fixed_dictionaries({"name": st.just("ellipse"), "cx": numbers, "cy": numbers, "rx": lengths, "ry": lengths}),
    st.fixed_dictionaries({"name": st.just("point"), "cx": numbers, "cy": numbers}),
)
drawn_attributes = st.fixed_dictionaries({}, optional={"kind": texts, "parts": st.dictionaries(texts, st.just(True))})
drawn_names = st.text(
    st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters='"'), min_size=1, max_size=9
)
drawn_images = st.builds(
    Drawn, drawn_names.filter(str.strip), st.lists(st.tuples(drawn_shapes, drawn_attributes), min_size=1, max_size=3)
)


def boxes_of(path: Path) -> list:
    """The name of each image, and of each region the box and outline inside 64 x 48 px, or why there are none."""
    result = []
    for image in read_annotation_file(path):
        for region in image.regions:
            try:
                found = box_and_outline(clip_outline(outline_of(region), 64, 48))
            except UnusableError as error:
                found = str(error)
            result.append((image.file_name, found, region["region_attributes"]))
    return result


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(drawn_images, min_size=1, max_size=3, unique_by=lambda image: image.name))
@example([Drawn("a, (1) \u200c é.png", [(polygon((1, 1), (70, 1), (9, 9)), {"kind": 'a\u2028\x85\r\n,"b'})])])
def test_the_same_regions_in_every_format_give_the_same_boxes(tmp_path, images):
    contents = {
        "via1.json": via_json(images, as_object=True),
        "via1.csv": via_csv(images, comment="#"),
        "via2.json": via_json(images),
        "via2.csv": via_csv(images),
        "via2_project.json": via2_project(images),
        "via3_project.json": via3_project(images),
        "via3.csv": via3_csv(images),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content.encode())
    boxes = {name: boxes_of(tmp_path / name) for name in contents}
    expected = boxes["via1.json"]
    assert len(expected) == sum(len(image.regions) for image in images)
    assert boxes == dict.fromkeys(contents, expected)
    assert set(files_of(tmp_path).images) == set(contents)
