"""Converting folders of images with VIA files, and the stage convert."""

from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from annotations.via_files import SQUARE, convert_params, write_split
from PIL import Image
from projects import REPOSITORY, polygon, read, stage_error, via_entry, write_params

from stages import convert
from viadet.annotations.convert import convert_folder
from viadet.project.errors import UserError

ARCHIVE = REPOSITORY.parent / "shared/mirror/balloon_dataset.zip"


@pytest.fixture
def folder(tmp_path):
    """Two images with a square each."""
    return write_split(tmp_path / "train", [via_entry("b.png", SQUARE), via_entry("a.png", SQUARE)])


@pytest.fixture
def splits(project):
    """A project with three images, a square in each; its training split."""
    write_split(Path("data/raw/val"), [via_entry("v.png", SQUARE)])
    return write_split(Path("data/raw/train"), [via_entry("b.png", SQUARE), via_entry("a.png", SQUARE)])


def error_of(folder: Path, **changes) -> str:
    with pytest.raises(UserError) as error:
        convert_folder(folder, convert_params(**changes))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_images_are_described_with_their_folder_and_size(folder):
    images = convert_folder(folder, convert_params())
    assert [image.image for image in images] == [
        {"file_name": "train/a.png", "width": 200, "height": 100},
        {"file_name": "train/b.png", "width": 200, "height": 100},
    ]
    assert [[a["bbox"] for a in image.annotations] for image in images] == [[[10, 20, 40, 60]]] * 2


def test_the_size_of_a_turned_photograph_is_the_one_that_is_shown(folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    Image.new("RGB", (200, 100)).save(folder / "a.png", exif=exif)
    image = convert_folder(folder, convert_params())[0].image
    assert (image["width"], image["height"]) == (100, 200)


def test_clipped_regions_are_counted(folder):
    write_split(folder, [via_entry("a.png", polygon((150, 50), (210, 50), (210, 103)), SQUARE)])
    [image] = convert_folder(folder, convert_params())
    assert [annotation["bbox"] for annotation in image.annotations] == [[150, 50, 50, 50], [10, 20, 40, 60]]
    assert (image.clipped_regions, image.skipped_regions) == (1, 0)


def test_categories_come_from_the_named_attribute(folder):
    write_split(folder, [via_entry(f"{kind}.png", SQUARE, attributes={"kind": kind}) for kind in ("balloon", "kite")])
    images = convert_folder(folder, convert_params(categories=["balloon", "kite"], attribute="kind"))
    assert [annotation["category_id"] for image in images for annotation in image.annotations] == [1, 2]


@pytest.mark.parametrize(
    ("shape", "kind", "reason"),
    [
        ({"name": "point", "cx": 1, "cy": 2}, "balloon", "is a 'point', which has no area"),
        (polygon((300, 10), (320, 10), (320, 40)), "balloon", "has no area inside the image of 200 x 100 px"),
        (SQUARE, "bird", "has kind 'bird', expected one of balloon"),
    ],
)
def test_a_bad_region_is_an_error_that_names_it_or_is_skipped_and_counted(folder, shape, kind, reason):
    entry = via_entry("a.png", SQUARE, attributes={"kind": "balloon"})
    entry["regions"] += via_entry("a.png", shape, attributes={"kind": kind})["regions"]
    write_split(folder, [entry])
    assert error_of(folder, attribute="kind") == (
        f"{folder}/via_region_data.json, a.png, region 1 {reason}; fix it in VIA, or set convert.bad_regions to skip"
    )
    [image] = convert_folder(folder, convert_params(attribute="kind", bad_regions="skip"))
    assert (len(image.annotations), image.skipped_regions) == (1, 1)


def test_a_split_without_boxes_is_refused(folder):
    write_split(folder, [via_entry("a.png")])
    assert error_of(folder) == f"{folder}/via_region_data.json: no boxes in any of 1 images; annotate some"


def test_none_or_several_via_files_are_refused(folder):
    (folder / "other.json").write_text("{}")
    expected = f"{folder}: expected exactly one VIA .json file, found "
    assert error_of(folder) == f"{expected}other.json, via_region_data.json"
    for path in folder.glob("*.json"):
        path.unlink()
    assert error_of(folder) == f"{expected}none"


def test_images_without_an_entry_are_left_out_and_reported(folder, capsys):
    Image.new("RGB", (8, 8)).save(folder / "unlisted.png")
    assert len(convert_folder(folder, convert_params())) == 2
    expected = f"{folder}: left out 1 images without an entry in the VIA file, such as unlisted.png\n"
    assert capsys.readouterr().out == expected


def test_a_missing_image_is_named(folder):
    (folder / "a.png").unlink()
    assert error_of(folder).startswith(f"{folder}/a.png is annotated but missing")


@pytest.mark.parametrize("content", [b"", b"no image", None], ids=["empty", "text", "truncated"])
def test_an_unreadable_image_is_named(folder, content):
    noise = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "b.png")
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:3000] if content is None else content)
    assert error_of(folder).startswith(f"{folder}/b.png can't be read as an image")


def test_the_stage_writes_annotations_and_counts(splits, capsys):
    convert.main()
    assert sorted(path.name for path in Path("data/coco").iterdir()) == ["train.json", "val.json"]
    assert [image["file_name"] for image in read("data/coco/train.json")["images"]] == ["train/a.png", "train/b.png"]
    assert [image["file_name"] for image in read("data/coco/val.json")["images"]] == ["val/v.png"]
    counts = read("metrics/dataset.json")
    assert (counts["train_images"], counts["train_boxes"], counts["val_boxes"]) == (2, 2, 1)
    assert capsys.readouterr().out.splitlines() == [
        "train: 2 images, 2 boxes, 0 regions skipped",
        "val: 1 images, 1 boxes, 0 regions skipped",
    ]


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_error_in_either_split_leaves_what_an_earlier_run_wrote(splits, split):
    convert.main()
    before = {path: path.read_bytes() for top in ("data/coco", "metrics") for path in Path(top).iterdir()}
    write_split(Path("data/raw", split), [via_entry("a.png", SQUARE, {"name": "point"})])
    assert stage_error("convert").startswith(f"convert: data/raw/{split}/via_region_data.json, a.png, region 1 is a")
    assert {path: path.read_bytes() for top in ("data/coco", "metrics") for path in Path(top).iterdir()} == before
    assert not list(Path().rglob("*.tmp"))


def test_the_first_error_writes_nothing(splits):
    (splits / "a.png").unlink()
    stage_error("convert")
    assert sorted(path.name for path in Path("data").iterdir()) == ["raw"]
    assert not Path("metrics").exists()


def test_folds_mix_both_splits_and_count_ids_anew(project):
    write_split(Path("data/raw/train"), [via_entry(f"{number}.png", SQUARE) for number in range(6)])
    write_split(Path("data/raw/val"), [via_entry(f"{number}.png", SQUARE) for number in range(3)])
    write_params({"convert.folds": 3, "convert.fold": 1})
    convert.main()
    splits = {split: read(f"data/coco/{split}.json") for split in ("train", "val")}
    names = {split: {image["file_name"] for image in coco["images"]} for split, coco in splits.items()}
    assert (len(names["train"]), len(names["val"])) == (6, 3)
    assert len(names["train"] | names["val"]) == 9
    for coco in splits.values():
        assert [a["id"] for a in coco["annotations"]] == list(range(1, len(coco["annotations"]) + 1))
        assert {a["image_id"] for a in coco["annotations"]} == {image["id"] for image in coco["images"]}
        assert all(Path("data/raw", image["file_name"]).is_file() for image in coco["images"])


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
