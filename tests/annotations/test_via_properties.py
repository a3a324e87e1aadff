"""Whatever a VIA file holds: valid COCO JSON that pycocotools reads, or one line that names the culprit."""

import contextlib
import io
import json
import math
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from projects import REPOSITORY, polygon, via_entry, write_params
from pycocotools.coco import COCO

from stages import convert
from viadet.project.errors import UserError

SIZES_WH = {"a.png": (64, 48), "b.png": (30, 40)}
CORPUS = REPOSITORY / "tests/annotations/corpus/via"
EARLIER = "what an earlier run wrote"
VALID = {"v": via_entry("a.png", polygon((1, 1), (9, 1), (9, 9)), attributes={"kind": "balloon"})}

# in JSON, whatever stands where a number should
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
    """What a file should hold, and once in a while what it should not."""
    return st.integers(0, 19).flatmap(lambda roll: odd if roll == 13 else good)


def table(**values: st.SearchStrategy) -> st.SearchStrategy:
    """A table in which a key is missing once in a while."""
    whole = st.fixed_dictionaries(values)
    return mostly(whole, st.fixed_dictionaries({}, optional=values) | odd_values)


px = mostly(st.integers(-5, 70) | st.floats(-5, 70))
size = mostly(st.integers(1, 40) | st.floats(0.5, 40))
points = st.integers(3, 8).flatmap(lambda count: st.lists(px, min_size=count, max_size=count))
regions = table(
    shape_attributes=st.one_of(
        points.flatmap(
            lambda xs: table(
                name=st.just("polygon"),
                all_points_x=st.just(xs),
                all_points_y=mostly(st.lists(px, min_size=len(xs), max_size=len(xs)), st.lists(px, max_size=6)),
            )
        ),
        table(name=st.just("rect"), x=px, y=px, width=size, height=size),
        table(name=st.just("circle"), cx=px, cy=px, r=size),
        table(name=st.just("ellipse"), cx=px, cy=px, rx=size, ry=size, theta=mostly(st.floats(-7, 7))),
    ),
    region_attributes=table(kind=mostly(st.just("balloon"), st.just("other"))),
)
odd_names = st.sampled_from([*SIZES_WH, "../a.png", "c.png", "A.PNG", "a.png\0", "."]) | odd_values
region_lists = st.lists(regions, max_size=4)
region_tables = region_lists.map(lambda found: {str(number): region for number, region in enumerate(found)})


def image_entry(name: str) -> st.SearchStrategy:
    return table(filename=mostly(st.just(name), odd_names), regions=mostly(region_lists | region_tables))


tables = st.fixed_dictionaries({"1": image_entry("a.png")}, optional={"2": image_entry("b.png")})
files = mostly(
    st.one_of(
        tables,
        tables.map(lambda entries: list(entries.values())),
        tables.map(lambda entries: {"_via_img_metadata": entries, "_via_settings": {}}),
    )
)


@contextlib.contextmanager
def two_splits(train: bytes):
    """A project whose training split has this VIA file, and which has been converted before."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for split in ("train", "val"):
                Path("data/raw", split).mkdir(parents=True)
                for name, size_wh in SIZES_WH.items():
                    Image.new("RGB", size_wh).save(Path("data/raw", split, name))
            Path("data/raw/train/via.json").write_bytes(train)
            Path("data/raw/val/via.json").write_text(json.dumps(VALID))
            Path("data/coco").mkdir()
            Path("data/coco/train.json").write_text(EARLIER)
            yield
        finally:
            os.chdir(before)


def check(train: bytes, bad_regions: str, attribute: str | None) -> str | None:
    """Convert; returns the error's line, or None where COCO JSON was written."""
    with two_splits(train):
        write_params({"convert.bad_regions": bad_regions, "convert.attribute": attribute})
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                convert.main()
        except UserError as error:
            assert len(str(error).splitlines()) == 1
            assert str(error).startswith(("data/raw/train/via.json", "data/raw/train/"))
            assert [path.name for path in Path("data/coco").iterdir()] == ["train.json"]
            assert Path("data/coco/train.json").read_text() == EARLIER
            assert not list(Path("data").rglob("*.tmp"))
            return str(error)
        assert sorted(path.name for path in Path("data/coco").iterdir()) == ["train.json", "val.json"]
        check_coco(Path("data/coco/train.json"))
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


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    files,
    st.sampled_from(["error", "skip"]),
    st.sampled_from([None, "kind"]),
    st.sampled_from(["utf-8", "utf-8-sig"]),
)
@example(VALID, "error", None, "utf-8")
@example({"v": via_entry("a.png", {"name": "circle", "cx": 1e308, "cy": 1e308, "r": 1e308})}, "error", None, "utf-8")
def test_any_structure_gives_coco_json_or_one_line(data, bad_regions, attribute, encoding):
    check(json.dumps(data).encode(encoding), bad_regions, attribute)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(regions, min_size=1, max_size=4))
def test_an_error_of_a_region_names_file_image_and_region(found):
    line = check(json.dumps({"v": via_entry("a.png") | {"regions": found}}).encode(), "error", None)
    if line is not None:
        assert line.startswith("data/raw/train/via.json, a.png, region ")


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.binary(max_size=200))
@example(json.dumps(VALID).encode("utf-16"))
@example(json.dumps(VALID | {"w": via_entry("é.png")}, ensure_ascii=False).encode("latin-1"))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b"\xef\xbb\xbf" * 2)
@example(b"1" * 100_000)
def test_any_bytes_give_one_line(data):
    assert check(data, "error", None) is not None


def test_a_key_that_is_there_twice_is_named():
    text = '{"v": {"filename": "a.png", "filename": "b.png", "regions": []}}'
    assert "data/raw/train/via.json has 'filename' twice in one table" in check(text.encode(), "error", None)


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name[:12])
@pytest.mark.parametrize("bad_regions", ["error", "skip"])
def test_what_the_fuzzer_found_interesting_is_converted_or_refused(path, bad_regions):
    check(path.read_bytes(), bad_regions, None)
