import json
import math
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image
from projects import REPOSITORY, polygon, read, run_module, via_entry, write_params
from pycocotools.coco import COCO

from stages import convert
from viadet.evaluation.coco_metrics import coco_stats, map_with_ids_from_0, run_cocoeval
from viadet.project.errors import UserError

SQUARE = polygon((10, 20), (50, 20), (50, 80), (10, 80))
ARCHIVE = REPOSITORY.parent / "shared/mirror/balloon_dataset.zip"


def write_split(name, entries, size_wh=(200, 100)):
    folder = Path("data/raw", name)
    folder.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        Image.new("RGB", size_wh, "navy").save(folder / entry["filename"])
    (folder / "via_region_data.json").write_text(json.dumps({entry["filename"]: entry for entry in entries}))
    return folder


@pytest.fixture
def splits(project):
    """Two images with a square each; tests spoil the training split."""
    write_split("val", [via_entry("v.png", SQUARE)])
    return write_split("train", [via_entry("b.png", SQUARE), via_entry("a.png", SQUARE)])


def annotations(split="train"):
    return read(f"data/coco/{split}.json")["annotations"]


def error_of_train(entries):
    write_split("train", entries)
    with pytest.raises(UserError) as error:
        convert.main()
    assert "\n" not in str(error.value)
    assert not Path("data/coco").exists()
    assert not list(Path("data").glob(".*"))
    return str(error.value)


def test_a_box_is_the_raw_extent_of_the_polygon_and_its_area(splits):
    convert.main()
    first = annotations()[0]
    # x 10..50, y 20..80: width 40, height 60, area 40 * 60
    assert first["bbox"] == [10, 20, 40, 60]
    assert first["area"] == 2400
    assert first["segmentation"] == [[10, 20, 50, 20, 50, 80, 10, 80]]


def test_ids_count_from_1_in_the_order_of_file_names(splits):
    convert.main()
    coco = read("data/coco/train.json")
    assert [(image["id"], image["file_name"]) for image in coco["images"]] == [(1, "train/a.png"), (2, "train/b.png")]
    assert [(a["id"], a["image_id"], a["category_id"]) for a in coco["annotations"]] == [(1, 1, 1), (2, 2, 1)]
    assert len(COCO("data/coco/train.json").anns) == 2


def test_perfect_detections_score_1_and_less_with_ids_from_0(splits):
    write_split("val", [via_entry("v.png", SQUARE, polygon((100, 10), (180, 10), (180, 90)))])
    convert.main()
    coco = read("data/coco/val.json")
    results = [{k: a[k] for k in ("image_id", "category_id", "bbox")} | {"score": 0.9} for a in coco["annotations"]]
    assert coco_stats(run_cocoeval(coco, results))["bbox_mAP"] == 1.0
    assert map_with_ids_from_0(coco, results) < 1.0


def test_regions_as_a_table_as_a_list_and_in_a_project_give_the_same(splits):
    entry = via_entry("a.png", SQUARE)
    as_table = {**entry, "regions": {str(i): region for i, region in enumerate(entry["regions"])}}
    written = []
    for data in ({"a": entry}, {"a": as_table}, [entry], {"_via_settings": {}, "_via_img_metadata": {"a": entry}}):
        (splits / "via_region_data.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(data).encode())
        convert.main()
        written.append(Path("data/coco/train.json").read_text())
    assert len(set(written)) == 1


def test_rectangles_circles_and_ellipses_have_exact_boxes(splits):
    quarter = math.pi / 2
    write_split(
        "train",
        [
            via_entry(
                "a.png",
                {"name": "rect", "x": 5, "y": 6, "width": 30, "height": 20},
                {"name": "circle", "cx": 50, "cy": 50, "r": 20},
                {"name": "ellipse", "cx": 100, "cy": 50, "rx": 40, "ry": 10},
                {"name": "ellipse", "cx": 100, "cy": 50, "rx": 40, "ry": 10, "theta": quarter},
                {"name": "ellipse", "cx": 100, "cy": 50, "rx": 40, "ry": 20, "theta": quarter / 2},
            )
        ],
    )
    convert.main()
    # an ellipse turned by 45 degrees reaches sqrt((40² + 20²) / 2) = 31.62 px to each side
    half = math.sqrt((40**2 + 20**2) / 2)
    expected = [
        [5, 6, 30, 20],
        [30, 30, 40, 40],
        [60, 40, 80, 20],
        [90, 10, 20, 80],
        [100 - half, 50 - half, 2 * half, 2 * half],
    ]
    np.testing.assert_allclose([a["bbox"] for a in annotations()], expected, atol=1e-9)


def test_the_size_of_a_turned_photograph_is_the_one_that_is_shown(splits):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter to show
    Image.new("RGB", (200, 100)).save(splits / "a.png", exif=exif)
    convert.main()
    first = read("data/coco/train.json")["images"][0]
    assert (first["width"], first["height"]) == (100, 200)


def test_points_beyond_the_edge_are_moved_to_it_and_counted(splits):
    write_split("train", [via_entry("a.png", polygon((150, 50), (210, 50), (210, 103)), SQUARE)])
    convert.main()
    assert annotations()[0]["bbox"] == [150, 50, 50, 50]
    assert read("metrics/dataset.json")["train_clipped_regions"] == 1


def test_the_category_comes_from_the_named_attribute(splits):
    write_params({"convert.categories": ["balloon", "kite"], "convert.attribute": "kind"})
    for split, kind in (("val", "balloon"), ("train", "kite")):
        write_split(split, [via_entry("a.png", SQUARE, attributes={"kind": kind})])
    convert.main()
    assert (annotations("val")[0]["category_id"], annotations("train")[0]["category_id"]) == (1, 2)
    Path("data/coco/train.json").unlink()
    Path("data/coco/val.json").unlink()
    Path("data/coco").rmdir()
    message = error_of_train([via_entry("a.png", SQUARE, attributes={"kind": "bird"})])
    assert "region 0 has kind 'bird', expected one of balloon, kite" in message


BAD_REGIONS = {
    "is a polygon of 2 points": polygon((1, 1), (5, 5)),
    "has 3 x and 2 y coordinates": {"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1, 2]},
    "encloses nothing within the image of 200 x 100 px": polygon((300, 10), (320, 10), (320, 40)),
    "encloses nothing within": polygon((10, 10), (10, 20), (10, 30)),
    "has '7' in all_points_x": {"name": "polygon", "all_points_x": ["7", 2, 3], "all_points_y": [1, 2, 3]},
    "has True in all_points_y": {"name": "polygon", "all_points_x": [7, 2, 3], "all_points_y": [True, 2, 3]},
    "has nan in all_points_y": {"name": "polygon", "all_points_x": [7, 2, 3], "all_points_y": [math.nan, 2, 3]},
    "has no list all_points_x": {"name": "polygon", "all_points_x": 7, "all_points_y": [1]},
    "is a 'point', which encloses nothing": {"name": "point", "cx": 1, "cy": 2},
    "has None in width": {"name": "rect", "x": 1, "y": 2, "height": 3},
    "has -3 in width, expected more than 0 px": {"name": "rect", "x": 9, "y": 2, "width": -3, "height": 3},
    "has 0 in r, expected more than 0 px": {"name": "circle", "cx": 9, "cy": 9, "r": 0},
    "has no shape_attributes": None,
}


@pytest.mark.parametrize("reason", BAD_REGIONS)
def test_a_bad_region_is_an_error_that_names_it_or_is_skipped_and_counted(splits, reason):
    message = error_of_train([via_entry("a.png", SQUARE, BAD_REGIONS[reason])])
    assert message.startswith(f"data/raw/train/via_region_data.json, a.png, region 1 {reason}")
    write_params({"convert.bad_regions": "skip"})
    convert.main()
    counts = read("metrics/dataset.json")
    assert (counts["train_boxes"], counts["train_skipped_regions"]) == (1, 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": {"filename": "a.png", "regi', "is no complete JSON: Unterminated string"),
        ("", "is no complete JSON: Expecting value at line 1, column 1"),
        ("[1, 2]", "holds no VIA annotations: expected filename and regions, got 1"),
        ('"text"', "holds no VIA annotations"),
        ("{}", "holds no VIA annotations"),
        ('{"a": {"filename": "a.png"}}', "holds no VIA annotations: expected filename and regions"),
        ('{"a": {"filename": "../a.png", "regions": []}}', "'../a.png' is not the name of an image"),
        ('{"a": {"filename": "a.png", "regions": 3}}', "a.png: regions are 3, expected a list or table"),
        ('[{"filename": "a.png", "regions": []}, {"filename": "a.png", "regions": []}]', "a.png is annotated 2 times"),
        ('[{"filename": "a.png", "regions": []}]', "no boxes at all in 1 images"),
        ('[{"filename": "absent.png", "regions": []}]', "absent.png is annotated but absent"),
        ("[" * 100_000, "can't be read as UTF-8 JSON"),
        ("[" + "9" * 5000 + "]", "can't be read as UTF-8 JSON"),
        ('[{"filename": "a\\nb.png", "regions": []}]', "'a\\nb.png' is not the name of an image"),
    ],
)
def test_a_file_that_is_no_via_file_is_named_with_the_reason(splits, text, reason):
    (splits / "via_region_data.json").write_text(text)
    with pytest.raises(UserError) as error:
        convert.main()
    assert reason in str(error.value)
    assert "data/raw/train" in str(error.value)
    assert not Path("data/coco").exists()


@pytest.mark.parametrize("content", [b"", b"no image", None], ids=["empty", "text", "truncated"])
def test_an_unreadable_image_is_named_and_what_was_there_before_stays(splits, content):
    convert.main()
    before = Path("data/coco/train.json").read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(splits / "b.png")
    (splits / "b.png").write_bytes((splits / "b.png").read_bytes()[:3000] if content is None else content)
    result = run_module("convert")
    assert result.returncode == 1
    assert result.stderr.startswith("convert: data/raw/train/b.png can't be read as an image")
    assert result.stderr.count("\n") == 1
    assert Path("data/coco/train.json").read_bytes() == before


def test_two_annotation_files_in_a_split_are_refused(splits):
    (splits / "other.json").write_text("{}")
    with pytest.raises(UserError, match=r"exactly one VIA \.json file, found other.json, via_region_data.json"):
        convert.main()


def test_images_without_an_entry_are_left_out_and_told(splits, capsys):
    Image.new("RGB", (8, 8)).save(splits / "unlisted.png")
    convert.main()
    assert "1 images without an entry in the VIA file are left out, such as unlisted.png" in capsys.readouterr().out
    assert len(read("data/coco/train.json")["images"]) == 2


@pytest.mark.skipif(not ARCHIVE.exists(), reason=f"no balloon archive at {ARCHIVE}: the real data are not tested")
def test_the_balloon_data_give_the_known_counts(project):
    with ZipFile(ARCHIVE) as archive:
        archive.extractall(project)
    Path("data").mkdir()
    Path("balloon").rename("data/raw")
    convert.main()
    counts = read("metrics/dataset.json")
    assert (counts["train_images"], counts["train_boxes"]) == (61, 255)
    assert (counts["val_images"], counts["val_boxes"]) == (13, 50)
    assert [counts[f"val_{size}"] for size in ("small", "medium", "large")] == [2, 12, 36]


def files_of(split):
    return [image["file_name"] for image in read(f"data/coco/{split}.json")["images"]]


@pytest.fixture
def nine(project):
    """Six images to train and three to validate, a square in each."""
    write_split("train", [via_entry(f"{number}.png", SQUARE) for number in range(6)])
    write_split("val", [via_entry(f"{number}.png", SQUARE) for number in range(3)])


def test_folds_are_disjoint_complete_and_the_same_again(nine):
    everything = {f"train/{number}.png" for number in range(6)} | {f"val/{number}.png" for number in range(3)}
    seen = []
    for fold in range(4):
        write_params({"convert.folds": 4, "convert.fold": fold})
        convert.main()
        train, val = files_of("train"), files_of("val")
        assert set(train) | set(val) == everything
        assert not set(train) & set(val)
        assert len(val) in (2, 3)
        for split in ("train", "val"):
            coco = read(f"data/coco/{split}.json")
            assert [a["id"] for a in coco["annotations"]] == list(range(1, len(coco["annotations"]) + 1))
            assert {a["image_id"] for a in coco["annotations"]} == {image["id"] for image in coco["images"]}
            assert all(Path("data/raw", image["file_name"]).is_file() for image in coco["images"])
        seen += val
        convert.main()
        assert (files_of("train"), files_of("val")) == (train, val)
    assert sorted(seen) == sorted(everything)
    assert any(name.startswith("train/") for name in seen[:3])


def test_more_folds_than_images_and_folds_without_boxes_are_errors(nine):
    write_params({"convert.folds": 10})
    with pytest.raises(UserError, match=r"convert\.folds is 10, but there are 9 images"):
        convert.main()
    write_split("train", [via_entry(f"{number}.png", *([SQUARE] if number == 0 else [])) for number in range(6)])
    errors = 0
    for fold in range(9):
        write_params({"convert.folds": 9, "convert.fold": fold})
        try:
            convert.main()
        except UserError as error:
            errors += 1
            assert str(error) == f"fold {fold} of 9 has no boxes to val; set convert.folds lower"
    assert errors == 5
