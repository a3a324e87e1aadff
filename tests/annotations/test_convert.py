"""Converting folders of images with VIA files, and the stage convert."""

import csv
import json
import shutil
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import yaml
from annotations.via_files import SQUARE, Drawn, convert_params, via_csv, write_split
from PIL import Image
from projects import REPOSITORY, polygon, read, stage_error, via_entry, write_params

from stages import convert
from viadet.annotations.convert import DataSet, check_has_boxes, convert_data_set
from viadet.annotations.faults import group_faults
from viadet.project.errors import UserError

ARCHIVE = REPOSITORY.parent / "shared/mirror/balloon_dataset.zip"
COLUMNS = "filename,file_size,region_count,region_shape_attributes,region_attributes"
POINT = {"name": "point", "cx": 1, "cy": 2}
OUTSIDE = polygon((300, 10), (320, 10), (320, 40))


@pytest.fixture
def folder(tmp_path):
    """Two images with a square each."""
    return write_split(tmp_path / "raw", [via_entry("b.png", SQUARE), via_entry("a.png", SQUARE)])


@pytest.fixture
def splits(project):
    """A project with three images, a square in each; its training split."""
    write_params({"fetch.source": "data/own", "fetch.manifest": None}, recipe="balloon")
    write_split(Path("data/raw/val"), [via_entry("v.png", SQUARE)])
    return write_split(Path("data/raw/train"), [via_entry("b.png", SQUARE), via_entry("a.png", SQUARE)])


def use(**changes) -> None:
    """Write the params of the recipe own with other values of `convert`."""
    write_params({f"convert.{key}": value for key, value in changes.items()}, recipe="own")


def converted(folder: Path, **changes) -> DataSet:
    return convert_data_set(folder, "data/own", convert_params(**changes))


def faults_of(data_set: DataSet) -> list[str]:
    return [f"{fault.reason}: {fault.sentence}" for fault in data_set.faults]


def error_of(folder: Path, **changes) -> str:
    with pytest.raises(UserError) as error:
        check_has_boxes(converted(folder, **changes), convert_params(**changes))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_images_are_described_with_their_path_and_size_sorted_by_path(folder):
    write_split(folder / "more", [via_entry("a.png", SQUARE)])
    images = converted(folder).images
    assert [image.image for image in images] == [
        {"file_name": name, "width": 200, "height": 100} for name in ("a.png", "b.png", "more/a.png")
    ]
    assert [[a["bbox"] for a in image.annotations] for image in images] == [[[10, 20, 40, 60]]] * 3


def test_the_size_of_a_turned_photograph_is_the_one_that_is_shown(folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    Image.new("RGB", (200, 100)).save(folder / "a.png", exif=exif)
    image = converted(folder).images[0].image
    assert (image["width"], image["height"]) == (100, 200)


def test_clipped_regions_are_counted(folder):
    write_split(folder, [via_entry("a.png", polygon((150, 50), (210, 50), (210, 103)), SQUARE)])
    [image] = converted(folder).images
    # The lower edge leaves the image at x 200, 50/60 of its way from y 50 to 103.
    boxes = [[150, 50, 50, pytest.approx(53 * 50 / 60)], [10, 20, 40, 60]]
    assert [annotation["bbox"] for annotation in image.annotations] == boxes
    assert (image.clipped_regions, image.skipped_regions) == (1, 0)


def test_equal_regions_count_once_unless_their_categories_differ(folder):
    entry = via_entry("a.png", SQUARE, SQUARE, attributes={"kind": "balloon"})
    entry["regions"] += via_entry("a.png", SQUARE, attributes={"kind": "kite"})["regions"]
    write_split(folder, [entry])
    [image] = converted(folder, categories=["balloon", "kite"], attribute="kind").images
    assert [annotation["category_id"] for annotation in image.annotations] == [1, 2]
    assert image.duplicate_regions == 1


def test_categories_are_found_and_counted(folder):
    kinds = ("kite", "balloon", "kite", "balloon")
    write_split(folder, [via_entry(f"{n}.png", SQUARE, attributes={"kind": k}) for n, k in enumerate(kinds)])
    data_set = converted(folder, categories="auto", attribute="auto")
    assert data_set.categories == ("kind", ["balloon", "kite"])
    assert data_set.values == {"kind": {"balloon": 2, "kite": 2}}
    assert [a["category_id"] for image in data_set.images for a in image.annotations] == [2, 1, 2, 1]


@pytest.mark.parametrize(
    ("shape", "kind", "param", "fault"),
    [
        (POINT, "balloon", "points", "point: {} is a point, which has no area"),
        (OUTSIDE, "balloon", "bad_regions", "outside the image: {} has no area inside the image of 200 x 100 px"),
        (SQUARE, "bird", "other_categories", "kind 'bird': {} has kind 'bird', expected one of balloon"),
    ],
)
def test_a_bad_region_is_named_with_the_param_that_decides(folder, shape, kind, param, fault):
    entry = via_entry("a.png", SQUARE, attributes={"kind": "balloon"})
    entry["regions"] += via_entry("a.png", shape, attributes={"kind": kind})["regions"]
    write_split(folder, [entry])
    data_set = converted(folder, attribute="kind")
    assert faults_of(data_set) == [fault.format("data/own/via_region_data.json, a.png, region 1")]
    assert data_set.faults[0].param == param
    assert (len(data_set.images[0].annotations), data_set.images[0].skipped_regions) == (1, 1)


def test_all_faults_are_found_at_once(folder):
    write_split(folder, [via_entry("a.png", POINT, SQUARE, OUTSIDE), via_entry("c.png", SQUARE, POINT)])
    (folder / "c.png").unlink()
    (folder / "via2.json").write_text('{"_via_img_metadata": {"x"', encoding="utf-8")
    reasons = [fault.reason for fault in converted(folder).faults]
    assert reasons == ["annotation file", "missing image", "point", "outside the image"]


def test_files_that_contradict_each_other_are_a_group_of_their_own_beside_other_faults(folder):
    changed = via_entry("a.png", SQUARE | {"all_points_x": [11, 50, 50, 10]})
    (folder / "second.json").write_text(
        json.dumps([changed, via_entry("b.png", SQUARE), via_entry("gone.png")]), encoding="utf-8"
    )
    (folder / "twice.json").write_text(
        json.dumps([via_entry("b.png", POINT), via_entry("b.png", SQUARE)]), encoding="utf-8"
    )
    data_set = converted(folder)
    second, other = "data/own/second.json", "is in only one of the two entries"
    advice = (
        "remove the image from one of them, or if both are right, as of two people who drew different objects, import "
        "both exports into VIA 2 (Annotation, Import Annotations), export the result, and keep that file alone"
    )
    assert faults_of(data_set) == [
        "missing image: data/own/second.json, gone.png is missing",
        f"contradicting entries in {second} and data/own/via_region_data.json, which share 2 images: 1 in all regions: "
        f"data/own/via_region_data.json, a.png, region 0 {other}; {advice}",
        f"contradicting entries in {second} and data/own/twice.json, which share 1 image: 1 in all regions: "
        f"data/own/twice.json, b.png, region 0 {other}; {advice}",
    ]
    groups = group_faults(data_set.faults, convert_params(bad_images="skip"))
    assert [(group.reason[:21], len(group.faults), group.is_error) for group in groups] == [
        ("contradicting entries", 1, True),
        ("contradicting entries", 1, True),
        ("missing image", 1, False),
    ]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        (
            "a.json",
            '{"shape_attributes": ',
            " is not valid JSON: Expecting value at line 1, column 22; export it again",
        ),
        ("a.json", '[{"filename": " ", "regions": []}]', ", image 1 has the file name ' '; give the image the name of"),
        ("a.json", '[{"filename": "a\\n", "regions": []}]', ", image 1 has control characters in the file name 'a\\n'"),
        (
            "a.csv",
            COLUMNS + "\na.png,1\nb.png,1",
            ", row 2 has 2 cells, expected 5; export the file again (and 1 more such place)",
        ),
    ],
    ids=range(4),
)
def test_a_damaged_file_is_a_fault_with_its_place_and_the_others_are_converted(folder, name, text, fault):
    (folder / name).write_text(text, encoding="utf-8")
    data_set = converted(folder)
    [line] = faults_of(data_set)
    assert line.startswith(f"annotation file: data/own/{name}{fault}")
    assert (len(data_set.images), len(data_set.annotation_files)) == (2, 2)


def test_a_damaged_file_is_named_even_if_it_leaves_no_regions_to_take_categories_from(folder):
    (folder / "via_region_data.json").write_text('{"_via_img_metadata": {"x"', encoding="utf-8")
    [line] = faults_of(converted(folder, categories="auto", attribute="kind"))
    assert line.startswith("annotation file: data/own/via_region_data.json is not valid JSON")


def test_images_whose_regions_were_all_left_out_are_dropped_unless_they_are_to_be_kept(folder):
    write_split(folder, [via_entry("a.png", POINT), via_entry("b.png", SQUARE), via_entry("c.png")])
    data_set = converted(folder, points="skip")
    assert [image.image["file_name"] for image in data_set.images] == ["b.png", "c.png"]
    assert data_set.emptied == ["a.png"]
    data_set = converted(folder, points="skip", emptied_images="keep")
    assert [image.image["file_name"] for image in data_set.images] == ["a.png", "b.png", "c.png"]


def test_a_data_set_without_boxes_is_refused_with_what_was_left_out(folder):
    write_split(folder, [via_entry("a.png")])
    assert error_of(folder) == "data/own/via_region_data.json: no boxes in 1 image; annotate some"
    write_split(folder, [via_entry("a.png", *[POINT] * 3)])
    assert error_of(folder, points="skip") == (
        "data/own/via_region_data.json: no region gives a box (3 point); the first: data/own/via_region_data.json, "
        "a.png, region 0 is a point, which has no area; draw shapes with an area"
    )


def test_a_project_that_lists_no_images_is_refused_with_what_to_do(folder):
    (folder / "via_region_data.json").write_text('{"_via_img_metadata": {}}', encoding="utf-8")
    assert error_of(folder) == (
        "data/own/via_region_data.json: no boxes in 0 images; "
        "add images in VIA, annotate them, and export or save again"
    )


def test_a_folder_without_annotations_is_described(folder):
    (folder / "via_region_data.json").write_text('{"images": [], "annotations": []}', encoding="utf-8")
    assert error_of(folder) == (
        "data/own has no annotations of VIA: found 2 images and data/own/via_region_data.json (COCO annotations); "
        "export them from VIA as JSON or CSV into this folder"
    )
    (folder / "via_region_data.json").unlink()
    assert "found 2 images and no .json or .csv file" in error_of(folder)


def test_of_values_that_differ_in_case_the_rarer_ones_are_named_with_their_places(folder):
    kinds = ("dog", "Dog", "dog", "cat", "cat", "cat")
    write_split(folder, [via_entry(f"{n}.png", SQUARE, attributes={"kind": k}) for n, k in enumerate(kinds)])
    data_set = converted(folder, categories="auto", attribute="auto")
    place = "data/own/via_region_data.json, 1.png, region 0"
    assert faults_of(data_set) == [f"kind 'Dog': {place} has kind 'Dog', did you mean 'dog'?"]
    assert data_set.faults[0].param == "other_categories"


def test_images_and_files_that_are_not_used_are_named(folder):
    Image.new("RGB", (8, 8)).save(folder / "unlisted.png")
    (folder / "config.json").write_text("{}", encoding="utf-8")
    data_set = converted(folder)
    assert (len(data_set.images), data_set.unlisted) == (2, ["unlisted.png"])
    assert data_set.other_files == ["data/own/config.json (JSON without VIA's annotations)"]


def noted(folder: Path, *names: str, **changes: int) -> dict:
    """Entries of images, a square in each, with the bytes of their files; `changes` are for images without suffix."""
    sizes = {name: (folder / name).stat().st_size for name in names}
    sizes |= {f"{name}.png": size for name, size in changes.items()}
    return {name: via_entry(Path(name).name, SQUARE) | {"size": size} for name, size in sizes.items()}


def write_via(folder: Path, entries: dict) -> None:
    (folder / "via_region_data.json").write_text(json.dumps(entries), encoding="utf-8")


def test_an_image_that_was_saved_in_another_size_later_is_told(folder):
    entries = noted(folder, "a.png", "b.png") | {"gone": via_entry("gone.png", SQUARE) | {"size": 77}}
    Image.new("RGB", (640, 480)).save(folder / "b.png")
    old, new = entries["b.png"]["size"], (folder / "b.png").stat().st_size
    write_via(folder, entries)
    assert converted(folder).changed == [f"b.png ({new} instead of {old})"]
    entries["a.png"]["size"] = entries["b.png"]["size"] = -1  # as VIA writes what it does not know
    write_via(folder, entries)
    assert converted(folder).changed == []


def test_an_image_that_is_noted_with_its_old_and_its_new_bytes_was_annotated_again(folder):
    entries = noted(folder, "a.png", "b.png")
    write_via(folder, entries | {"old": entries["b.png"] | {"size": 9}})
    assert converted(folder).changed == []
    write_via(folder, entries | {"b.png": entries["b.png"] | {"regions": []}, "old": entries["b.png"] | {"size": 9}})
    assert len(converted(folder).changed) == 1


def test_a_mask_of_the_same_name_does_not_stand_in_for_a_missing_image(tmp_path):
    write_split(tmp_path / "images", [via_entry(f"{number}.png") for number in range(3)])
    write_split(tmp_path / "masks", [via_entry(f"{number}.png") for number in range(3)], (20, 10))
    entries = noted(tmp_path, *(f"images/{number}.png" for number in range(3)))
    for path in (tmp_path / "images/2.png", *tmp_path.rglob("*.json")):
        path.unlink()
    write_via(tmp_path, entries)
    data_set = converted(tmp_path)
    assert [image.file_name for image in data_set.images] == ["images/0.png", "images/1.png"]
    [fault] = faults_of(data_set)
    size = (tmp_path / "masks/2.png").stat().st_size
    assert fault.startswith(
        f"missing image: data/own/via_region_data.json, 2.png is missing, but masks/2.png of {size}"
    )


def test_an_image_that_is_missing_in_several_files_is_one(folder):
    for name in ("c.json", "d.json"):
        (folder / name).write_text(json.dumps([via_entry("gone.png", SQUARE)] * 2), encoding="utf-8")
    data_set = converted(folder)
    expected = "missing image: data/own/c.json, gone.png is missing (also named in data/own/d.json)"
    assert (faults_of(data_set), data_set.annotated) == ([expected], 3)


@pytest.mark.parametrize("decision", ["error", "skip"])
def test_without_any_image_the_stage_says_at_once_what_is_missing_and_where_it_may_lie(project, capsys, decision):
    folder = write_split(Path("data/raw"), [via_entry("a.png", SQUARE), via_entry("b.png", SQUARE)])
    Image.new("RGB", (9, 9)).save(folder / "b.png")
    write_via(folder, noted(folder, "a.png", "b.png"))
    (folder / "a.png").rename(folder / "renamed.png")
    (folder / "b.png").unlink()
    use(bad_images=decision)
    size, place = (folder / "renamed.png").stat().st_size, "data/own/via_region_data.json"
    assert stage_error("convert") == (
        f"convert: {place}: none of the annotated images is there (2 missing image); the first: {place}, a.png is "
        f"missing, but renamed.png has exactly its {size} bytes; give it the name that VIA has; "
        "put the images that VIA shows into data/own"
    )
    assert capsys.readouterr().out.startswith(f"recipe own: 2 images of data/own, annotated in {place}\n")
    assert [fault["count"] for fault in read("metrics/dataset_report.json")["faults"]] == [2]
    (folder / "renamed.png").rename(folder / "a.png")
    assert "is there" not in stage_error("convert")


@pytest.mark.parametrize("decision", ["error", "skip"])
@pytest.mark.parametrize(
    ("shapes", "kind", "changes", "expected"),
    [
        (
            [POINT, POINT],
            "balloon",
            ["points"],
            "(2 point); the first: {} is a point, which has no area; draw shapes with",
        ),
        (
            [SQUARE],
            "kite",
            ["other_categories"],
            "(1 kind 'kite'); the first: {} has kind 'kite', expected one of balloon; set convert.attribute and",
        ),
        ([OUTSIDE], "balloon", ["bad_regions"], "(1 outside the image); the first: {} has no area inside the image of"),
    ],
)
def test_where_skipping_would_leave_nothing_it_is_not_advised(project, decision, shapes, kind, changes, expected):
    write_split(Path("data/raw"), [via_entry("a.png", *shapes, attributes={"kind": kind}), via_entry("b.png")])
    use(attribute="kind", categories=["balloon"], **dict.fromkeys(changes, decision))
    line, place = stage_error("convert"), "data/own/via_region_data.json"
    assert line.startswith(f"convert: {place}: no region gives a box {expected.format(f'{place}, a.png, region 0')}")
    assert "skip" not in line


def test_a_missing_image_is_named_with_a_similar_one(folder):
    (folder / "a.png").rename(folder / "A.PNG")
    expected = "missing image: data/own/via_region_data.json, a.png is missing, but A.PNG is there"
    assert faults_of(converted(folder)) == [expected]


@pytest.mark.parametrize("content", [b"", b"no image", None], ids=["empty", "text", "truncated"])
def test_an_unreadable_image_is_named(folder, content):
    noise = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "b.png")
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:3000] if content is None else content)
    [fault] = faults_of(converted(folder))
    assert fault.startswith("unreadable image: data/own/b.png can't be read as an image")


def test_the_stage_writes_annotations_and_counts(splits, capsys):
    convert.main()
    assert sorted(path.name for path in Path("data/coco").iterdir()) == ["train.json", "val.json"]
    assert [image["file_name"] for image in read("data/coco/train.json")["images"]] == ["train/a.png", "train/b.png"]
    assert [image["file_name"] for image in read("data/coco/val.json")["images"]] == ["val/v.png"]
    assert read("metrics/dataset.json") == {
        "train_images": 2,
        "train_boxes": 2,
        "val_images": 1,
        "val_boxes": 1,
        "categories": 1,
        "left_out_images": 0,
        "left_out_regions": 0,
    }
    files = "data/own/train/via_region_data.json, data/own/val/via_region_data.json"
    assert capsys.readouterr().out.splitlines() == [
        f"recipe balloon: 3 images of data/own, annotated in {files}",
        "split by the folders train and val",
        "train: 2 images, 2 boxes: 0 small, 2 medium, 0 large, median size 49.0 px",
        "val: 1 image, 1 box: 0 small, 1 medium, 0 large, median size 49.0 px",
        "warning: train has fewer than 10 objects of balloon (2); annotate more images with such objects",
        "warning: 1 group of equal images in several splits: train/a.png = train/b.png = val/v.png",
    ]


def test_the_recipe_own_finds_out_the_rest_and_prints_it_as_params(project, capsys):
    shapes = [
        ({"name": "rect", "x": 10 + n, "y": 10, "width": 40, "height": 50}, ["dog", "cat"][n % 2]) for n in range(10)
    ]
    write_split(Path("data/raw"), [via_entry(f"{n}.png", s, attributes={"kind": k}) for n, (s, k) in enumerate(shapes)])
    for n in range(10):
        Image.new("RGB", (200, 100), (n, 0, 0)).save(f"data/raw/{n}.png")
    use()
    convert.main()
    assert [category["name"] for category in read("data/coco/train.json")["categories"]] == ["cat", "dog"]
    report = read("metrics/dataset_report.json")
    assert (report["attribute"], report["categories"]) == ("kind", ["cat", "dog"])
    assert (
        report["splits"]["val"]["categories"]["cat"]["boxes"]
        == report["splits"]["val"]["categories"]["dog"]["boxes"]
        == 1
    )
    out = capsys.readouterr().out.splitlines()
    assert out[1] == "split by convert.split, without folders named train and val"
    assert out[3] == "  cat: 4 boxes in 4 images, median size 44.7 px"
    assert out[-6:] == [
        "found, to copy into params.yaml:",
        "  convert:",
        "    categories:",
        "    - cat",
        "    - dog",
        "    attribute: kind",
    ]
    found = {path.name: path.read_bytes() for path in Path("data/coco").iterdir()}
    use(**yaml.safe_load("\n".join(out[-5:]))["convert"])
    convert.main()
    assert {path.name: path.read_bytes() for path in Path("data/coco").iterdir()} == found
    assert "found, to copy" not in capsys.readouterr().out


COUNTS = {"train": 4, "val": 3, "test": 2}


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("reason", ["kind 'cow'", "missing image", "unreadable image"])
@pytest.mark.parametrize("in_one_file", [False, True])
def test_a_split_of_which_nothing_is_left_is_named_with_what_emptied_it(project, in_one_file, reason, split):
    moved = []  # as from a computer with other folders
    for name, count in COUNTS.items():
        kind = "cow" if name == split and reason == "kind 'cow'" else "cat"
        entries = [via_entry(f"{name}{n}.png", SQUARE, attributes={"kind": kind}) for n in range(count)]
        folder = write_split(Path("data/raw", name), entries)
        for n, entry in enumerate(entries):
            Image.new("RGB", (200, 100), (n, len(name), 0)).save(folder / entry["filename"])
            moved.append(entry | {"filename": f"/home/me/test/{name}/{entry['filename']}"})
        if in_one_file:
            (folder / "via_region_data.json").unlink()
    if in_one_file:
        Path("data/raw/via.json").write_text(json.dumps(moved), encoding="utf-8")
    for path in Path("data/raw", split).glob("*.png"):
        if reason == "missing image":
            path.unlink()
        elif reason == "unreadable image":
            path.write_bytes(b"")
    use(bad_images="skip", other_categories="skip", attribute="kind", categories=["cat"])
    param = "other_categories" if reason == "kind 'cow'" else "bad_images"
    assert stage_error("convert") == (
        "convert: data/own: found the folders train (4 images), val (3 images), test (2 images), but nothing is left "
        f"of {split}: left out were {COUNTS[split]} {reason} by convert.{param}; fix these, or take the "
        f"{COUNTS[split]} images out of the folder and of the annotation files"
    )
    shutil.rmtree(Path("data/raw", split))
    if in_one_file:
        entries = [entry for entry in moved if f"/{split}/{split}" not in entry["filename"]]
        Path("data/raw/via.json").write_text(json.dumps(entries), encoding="utf-8")
    convert.main()


def test_an_image_that_is_missing_makes_no_split_of_its_folder_elsewhere(project):
    names = ["/home/me/test/a.png", "/home/me/test/b.png", "/home/me/test/c.png", "train/d.png", "val/gone.png"]
    write_split(Path("data/raw"), [via_entry(Path(name).name, SQUARE) for name in names])
    Path("data/raw/gone.png").unlink()
    entries = [via_entry(name, SQUARE) for name in names]
    Path("data/raw/via_region_data.json").write_text(json.dumps(entries), encoding="utf-8")
    for number, name in enumerate("abcd"):
        Image.new("RGB", (200, 100), (number, 0, 0)).save(f"data/raw/{name}.png")
    use(bad_images="skip")
    convert.main()
    assert (len(read("data/coco/train.json")["images"]), len(read("data/coco/val.json")["images"])) == (3, 1)


def test_splits_that_share_no_category_are_refused_until_the_names_are_the_same(project):
    for split, kind in (("train", "dent"), ("val", "damage")):
        entries = [via_entry(f"{split} {n}.png", SQUARE, attributes={"kind": kind}) for n in range(2)]
        write_split(Path("data/raw", split), entries)
    use()
    assert stage_error("convert") == (
        "convert: data/own: train has boxes of dent alone and val of damage, so that nothing learnt can be measured; "
        "give the same objects the same name in both, or annotate more images"
    )
    path = Path("data/raw/val/via_region_data.json")
    path.write_text(path.read_text(encoding="utf-8").replace('"damage"', '"dent"'), encoding="utf-8")
    convert.main()


def test_images_that_nobody_looked_at_are_left_out_without_their_rows_as_the_warning_advises(project, capsys):
    drawn = [Drawn(f"{n}.png", [(SQUARE, {})] if n < 2 else []) for n in range(6)]
    write_split(Path("data/raw"), [via_entry(image.name) for image in drawn])
    for n in range(6):
        Image.new("RGB", (200, 100), (n, 0, 0)).save(f"data/raw/{n}.png")
    Path("data/raw/via_region_data.json").unlink()
    rows = via_csv(drawn).splitlines()
    Path("data/raw/via.csv").write_text("\n".join(rows), encoding="utf-8")
    use()
    convert.main()
    assert "warning: 4 of 6 images have no boxes, and what they show counts as background; " in capsys.readouterr().out
    kept = [row for row in csv.reader(rows) if row[3] != "0"]
    with Path("data/raw/via.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(kept)
    convert.main()
    out = capsys.readouterr().out
    assert "left out: 4 images without an entry in an annotation file" in out
    assert "have no boxes" not in out


def test_of_few_annotated_images_one_validates(project):
    entries = [via_entry(f"{n}.png", *([SQUARE] if n < 2 else [])) for n in range(20)]
    write_split(Path("data/raw"), entries)
    for n in range(20):
        Image.new("RGB", (200, 100), (n, 0, 0)).save(f"data/raw/{n}.png")
    use()
    convert.main()
    counts = read("metrics/dataset.json")
    assert (counts["train_images"], counts["train_boxes"], counts["val_images"], counts["val_boxes"]) == (16, 1, 4, 1)


def test_a_test_split_is_written_beside_the_others(project):
    for split in ("train", "val", "test"):
        write_split(Path("data/raw", split), [via_entry(f"{split}.png", SQUARE)])
    use()
    convert.main()
    assert [image["file_name"] for image in read("data/coco/test.json")["images"]] == ["test/test.png"]
    assert read("metrics/dataset.json")["test_boxes"] == 1


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_error_in_either_split_leaves_what_an_earlier_run_wrote_but_the_report(splits, split, capsys):
    convert.main()
    tops = ("data/coco", "metrics/dataset.json")
    before = {path: path.read_bytes() for top in tops for path in [Path(top), *Path(top).glob("*")] if path.is_file()}
    write_split(Path("data/raw", split), [via_entry("a.png", SQUARE, *[POINT] * 3, OUTSIDE)])
    place = f"data/own/{split}/via_region_data.json, {split}/a.png, region"
    assert stage_error("convert") == (
        f"convert: data/own has 4 faults: 3 point, 1 outside the image; the first: {place} 1 is a point, "
        "which has no area; fix them in VIA, or set convert.bad_regions, points to skip; "
        "metrics/dataset_report.json lists all"
    )
    assert {path: path.read_bytes() for path in before} == before
    assert not list(Path().rglob("*.tmp"))
    [points, outside] = read("metrics/dataset_report.json")["faults"]
    assert (points["count"], outside["count"]) == (3, 1)
    assert points["places"] == [f"{place} {number} is a point, which has no area" for number in (1, 2, 3)]
    assert f"error: 3 regions (point): {place} 1 is a point" in capsys.readouterr().out


def test_the_first_error_writes_no_annotations(splits):
    (splits / "a.png").unlink()
    stage_error("convert")
    assert sorted(path.name for path in Path("data").iterdir()) == ["raw"]
    assert [path.name for path in Path("metrics").iterdir()] == ["dataset_report.json"]


def test_folds_mix_both_splits_and_count_ids_anew(project):
    write_split(Path("data/raw/train"), [via_entry(f"{number}.png", SQUARE) for number in range(6)])
    write_split(Path("data/raw/val"), [via_entry(f"{number}.png", SQUARE) for number in range(3)])
    for number, path in enumerate(Path("data/raw").rglob("*.png")):
        Image.new("RGB", (200, 100), (number, 0, 0)).save(path)
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
    write_params(recipe="balloon")
    convert.main()
    counts = read("metrics/dataset.json")
    assert (counts["train_images"], counts["train_boxes"]) == (61, 255)
    assert (counts["val_images"], counts["val_boxes"]) == (13, 50)
    sizes = read("metrics/dataset_report.json")["splits"]["val"]
    assert [sizes[size] for size in ("small", "medium", "large")] == [2, 12, 36]
