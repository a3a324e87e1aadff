"""Any VIA file gives valid COCO JSON that pycocotools reads, or one line that names the file."""

import contextlib
import io
import itertools
import json
import math
from pathlib import Path

import pytest
from annotations.via_files import convert_params
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from projects import REPOSITORY, polygon, via_entry
from pycocotools.coco import COCO

from viadet.annotations.coco import to_coco
from viadet.annotations.convert import convert_folder
from viadet.annotations.counts import count_boxes
from viadet.project.errors import UserError
from viadet.project.files import write_json

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
odd_names = st.sampled_from([*SIZES_WH, "../a.png", "c.png", "A.PNG", "a.png\0", "."]) | odd_values
region_lists = st.lists(regions, max_size=4)
region_objects = region_lists.map(lambda regions: {str(number): region for number, region in enumerate(regions)})


def image_entry(name: str) -> st.SearchStrategy:
    return json_object(filename=mostly(st.just(name), odd_names), regions=mostly(region_lists | region_objects))


image_objects = st.fixed_dictionaries({"1": image_entry("a.png")}, optional={"2": image_entry("b.png")})
files = mostly(
    st.one_of(
        image_objects,
        image_objects.map(lambda entries: list(entries.values())),
        image_objects.map(lambda entries: {"_via_img_metadata": entries, "_via_settings": {}}),
    )
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A training split of two images; each check writes another VIA file."""
    folder = tmp_path_factory.mktemp("data") / "train"
    folder.mkdir()
    for name, size_wh in SIZES_WH.items():
        Image.new("RGB", size_wh).save(folder / name)
    return folder


def check(folder: Path, via: bytes, bad_regions: str = "error", attribute: str | None = None) -> str | None:
    """Convert; returns the error's line, or None where COCO JSON was written."""
    (folder / "via.json").write_bytes(via)
    params = convert_params(bad_regions=bad_regions, attribute=attribute)
    try:
        images = convert_folder(folder, params)
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        assert str(error).startswith(f"{folder}/")
        return str(error)
    write_json(folder.parent / "coco.json", to_coco(images, params.categories))
    check_coco(folder.parent / "coco.json")
    json.dumps(count_boxes(images), allow_nan=False)
    return None


def check_coco(path: Path) -> None:
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
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


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    files,
    st.sampled_from(["error", "skip"]),
    st.sampled_from([None, "kind"]),
    st.sampled_from(["utf-8", "utf-8-sig"]),
)
@example(VALID, "error", None, "utf-8")
@example(LARGE_CIRCLE, "error", None, "utf-8")
def test_any_structure_gives_coco_json_or_one_line(folder, data, bad_regions, attribute, encoding):
    check(folder, json.dumps(data).encode(encoding), bad_regions, attribute)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(regions, min_size=1, max_size=4))
def test_the_error_of_a_region_names_file_image_and_region(folder, region_list):
    line = check(folder, json.dumps({"v": via_entry("a.png") | {"regions": region_list}}).encode())
    if line is not None:
        assert line.startswith(f"{folder}/via.json, a.png, region ")


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.binary(max_size=200))
@example(json.dumps(VALID).encode("utf-16"))
@example(json.dumps(VALID | {"w": via_entry("é.png")}, ensure_ascii=False).encode("latin-1"))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b"\xef\xbb\xbf" * 2)
@example(b"1" * 100_000)
def test_bytes_that_are_not_a_via_file_give_one_line(folder, data):
    assert check(folder, data) is not None


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name[:12])
def test_an_input_of_the_fuzzer_is_converted_or_refused(folder, path):
    for bad_regions, attribute in itertools.product(("error", "skip"), (None, "kind")):
        check(folder, path.read_bytes(), bad_regions, attribute)
