"""Splitting by folders and by shares."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viadet.annotations.coco import ConvertedImage
from viadet.annotations.faults import Fault
from viadet.annotations.splits import check_shared_categories, split_by_shares, split_data_set, split_folders
from viadet.project.errors import UserError
from viadet.project.params import SplitParams


def shares(val: float = 0.2, test: float = 0.0, seed: int = 0) -> SplitParams:
    return SplitParams(val=val, test=test, seed=seed)


def image(name: str, *category_ids: int, content: str | None = None) -> ConvertedImage:
    annotations = [{"category_id": category_id} for category_id in category_ids]
    return ConvertedImage({"file_name": name}, annotations, sha256=content or name)


def names_in(splits: dict[str, list[ConvertedImage]]) -> dict[str, list[str]]:
    return {split: [image.image["file_name"] for image in images] for split, images in splits.items()}


def by_folders(*names: str, unlisted: tuple[str, ...] = (), params: SplitParams | None = None) -> dict[str, list[str]]:
    return names_in(split_data_set([image(name, 1) for name in names], list(unlisted), {}, params, "data/own")[0])


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("train/a.png", "val/a.png"),
        ("images/train/a.png", "images/val/a.png"),
        ("Training/x/a.png", "VALID/x/a.png"),
        ("a/train/val/a.png", "a/validation/train/a.png"),  # the upper one counts
        ("test/train/a.png", "test/val/a.png"),  # a folder of all images is no split
    ],
)
def test_folders_are_splits_in_any_depth_and_case(train, val):
    assert by_folders(train, val) == {"train": [train], "val": [val]}


def test_a_test_folder_is_the_test_split():
    splits = by_folders("test/c.png", "val/b.png", "train/a.png")
    assert splits == {"train": ["train/a.png"], "val": ["val/b.png"], "test": ["test/c.png"]}
    assert list(splits) == ["train", "val", "test"]


def test_without_a_val_folder_a_share_of_the_training_images_validates():
    splits = by_folders("test/c.png", *(f"train/{n}.png" for n in range(10)), params=shares())
    assert {split: len(names) for split, names in splits.items()} == {"train": 8, "val": 2, "test": 1}
    assert splits["test"] == ["test/c.png"]


@pytest.mark.parametrize("folder", ["", "train/", "a/b/"])
def test_images_in_one_folder_have_no_splits_yet(folder):
    names = [f"{folder}{n}.png" for n in range(5)]
    assert set(split_folders(names).values()) == {None}
    assert {split: len(part) for split, part in by_folders(*names, params=shares()).items()} == {"train": 4, "val": 1}


@pytest.mark.parametrize(
    ("names", "unlisted", "reason"),
    [
        (
            ["train/a.png", "val/b.png", "more/c.png"],
            [],
            "found the folders train (1 image), val (1 image), but 1 annotated image outside of them, such as m",
        ),
        (
            ["train/a.png"],
            ["val/b.png", "val/c.png"],
            "found the folders train (1 image), val (2 images), but no annotated images in val; annotate some, or ",
        ),
        (
            ["val/a.png", "test/b.png"],
            [],
            "found the folders val (1 image), test (1 image), but no annotated images in train",
        ),
        (["a.png", "b.png"], [], "convert.split is null, but the images are not in the folders train and val"),
    ],
)
def test_folders_that_are_no_splits_are_named_with_what_is_there(names, unlisted, reason):
    with pytest.raises(UserError) as error:
        by_folders(*names, unlisted=unlisted)
    assert str(error.value).startswith(f"data/own: {reason}")


def test_a_split_without_boxes_is_named():
    with pytest.raises(UserError, match=r"^data/own: val: no boxes in 1 image; annotate some$"):
        split_data_set([image("train/a.png", 1), image("val/b.png")], [], {}, None, "data/own")


MANY = [image(f"{n}.png", *([1] if n % 2 else [2] if n % 10 else [2, 3])) for n in range(100)]


def test_shares_are_kept_for_each_category_and_every_image_is_in_one_split():
    splits = split_by_shares(MANY, shares(val=0.2, test=0.1))
    assert {split: len(images) for split, images in splits.items()} == {"train": 70, "val": 20, "test": 10}
    assert sorted(name for names in names_in(splits).values() for name in names) == sorted(names_in({"": MANY})[""])
    for split, share in (("train", 0.7), ("val", 0.2), ("test", 0.1)):
        counts = Counter(a["category_id"] for i in splits[split] for a in i.annotations)
        assert counts == {1: 50 * share, 2: 50 * share, 3: 10 * share}


def test_the_seed_alone_changes_the_assignment_not_the_order_of_the_images():
    splits = {split: sorted(names) for split, names in names_in(split_by_shares(MANY, shares())).items()}
    backwards = names_in(split_by_shares(MANY[::-1], shares()))
    assert {split: sorted(names) for split, names in backwards.items()} == splits
    assert sorted(names_in(split_by_shares(MANY, shares(seed=1)))["val"]) != splits["val"]


data_sets = st.lists(
    st.tuples(
        st.sampled_from(["", "train/", "val/", "x/val/", "test/"]),
        st.sets(st.integers(1, 3), max_size=2),
        st.sampled_from(["here", "here", "here", "emptied", "missing"]),
    ),
    min_size=1,
    max_size=12,
)
FAULTS = {
    "emptied": [Fault("region", "kind 'cow'", "via.json", "", "other_categories", ("a.png", "region 0"))],
    "missing": [Fault("image", "missing image", "via.json", "", "bad_images", ("a.png",))],
}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data_sets)
def test_no_split_vanishes_or_is_without_boxes_unless_the_error_says_so(drawn):
    named = [(f"{folder}{number}.png", ids, state) for number, (folder, ids, state) in enumerate(drawn)]
    images = [image(name, *ids) for name, ids, state in named if state == "here"]
    left_out = {name: FAULTS[state] for name, _, state in named if state != "here"}
    folders = split_folders([name for name, _, _ in named])
    try:
        splits, how = split_data_set(images, [], left_out, shares(), "data/own")
    except UserError as error:
        assert str(error).startswith("data/own: ")
        return
    names = [name for members in names_in(splits).values() for name in members]
    assert sorted(names) == sorted(image.file_name for image in images)
    assert all(any(image.annotations for image in members) for members in splits.values())
    if how == "by convert.split, without folders named train and val":
        certain = split_folders([name for name, _, state in named if state != "missing"])
        assert not any(certain.values())
        assert not all(folders[name] for name in names)
    elif all(folders[name] for name in names):
        assert {split for split in folders.values() if split} <= splits.keys()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.sets(st.integers(1, 3), max_size=2), min_size=3, max_size=20), st.sampled_from([0.0, 0.2]))
def test_every_split_by_shares_has_boxes_if_there_are_enough_and_a_category_of_train_if_all_have_it(ids, test):
    images = [image(f"{number}.png", *sorted(categories)) for number, categories in enumerate(ids)]
    splits = split_by_shares(images, shares(test=test))
    assert all(splits.values())
    if sum(map(bool, ids)) >= len(splits):
        assert all(any(image.annotations for image in members) for members in splits.values())
    common = [category for category in (1, 2, 3) if all(category in categories for categories in ids if categories)]
    if common and sum(map(bool, ids)) >= len(splits):
        check_shared_categories(splits, ["a", "b", "c"], "data/own")


def test_the_image_that_a_split_is_given_is_of_a_category_that_train_keeps():
    images = [image("a.png", 1), image("b.png", 1), image("c.png", 2), *(image(f"{n}.png") for n in range(30))]
    for seed in range(5):
        splits = split_by_shares(images, shares(val=0.1, seed=seed))
        assert [image.file_name for image in splits["val"] if image.annotations] in (["a.png"], ["b.png"])
        assert len(splits["val"]) == 3


def test_images_of_equal_content_stay_together():
    images = [image(f"{n}.png", 1, content=str(n % 10)) for n in range(40)]
    splits = split_by_shares(images, shares(val=0.3))
    contents = {split: {image.sha256 for image in images} for split, images in splits.items()}
    assert not contents["train"] & contents["val"]
    assert len(splits["val"]) == 12


@pytest.mark.parametrize(("images", "test"), [(2, 0.0), (3, 0.1), (4, 0.1)])
def test_no_split_is_empty(images, test):
    splits = split_by_shares([image(f"{n}.png", 1) for n in range(images)], shares(test=test))
    assert all(splits.values())


def test_fewer_images_than_splits_are_refused():
    with pytest.raises(UserError, match=r"^convert\.split needs at least 2 different images, found 1; add some$"):
        split_by_shares([image("a.png", 1, content="x"), image("b.png", 1, content="x")], shares())
