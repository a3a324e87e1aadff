"""Folds for cross-validation."""

import pytest

from viadet.annotations.coco import ConvertedImage
from viadet.annotations.splits import split_by_fold
from viadet.project.errors import UserError

NAMES = [f"train/{number}.png" for number in range(6)] + [f"val/{number}.png" for number in range(3)]

EARLIER = [
    ["train/4.png", "train/5.png", "val/2.png"],
    ["train/0.png", "train/1.png", "val/0.png"],
    ["train/2.png", "train/3.png", "val/1.png"],
]


def splits_of(names=NAMES, with_boxes=NAMES) -> dict[str, list[ConvertedImage]]:
    splits = {"train": [], "val": [], "test": [ConvertedImage({"file_name": "test/0.png"}, [{}])]}
    for name in names:
        splits[name.partition("/")[0]].append(ConvertedImage({"file_name": name}, [{}] * (name in with_boxes)))
    return splits


def names_by_split(splits, *arguments) -> dict[str, list[str]]:
    splits = split_by_fold(splits, *arguments)
    return {split: [image.image["file_name"] for image in images] for split, images in splits.items()}


def test_every_image_validates_in_exactly_one_fold_and_trains_in_the_others():
    validated = []
    for fold in range(4):
        splits = names_by_split(splits_of(), 4, fold)
        assert sorted(splits["train"] + splits["val"]) == NAMES
        assert len(splits["val"]) in (2, 3)
        assert splits["test"] == ["test/0.png"]
        validated += splits["val"]
    assert sorted(validated) == NAMES
    assert any(name.startswith("train/") for name in validated[:3])  # not simply the original validation images


def test_folds_of_the_training_images_never_touch_those_of_val():
    validated = []
    for fold in range(3):
        splits = names_by_split(splits_of(), 3, fold, "train")
        assert sorted(splits["train"] + splits["val"]) == NAMES[:6]
        validated += splits["val"]
    assert sorted(validated) == NAMES[:6]


def test_folds_depend_on_file_names_alone():
    for fold in range(4):
        forwards, backwards = (names_by_split(splits_of(names), 4, fold) for names in (NAMES, NAMES[::-1]))
        assert {split: sorted(names) for split, names in backwards.items()} == forwards


def test_the_assignment_is_the_one_of_earlier_results():
    names = [names_by_split(splits_of(), 3, fold)["val"] for fold in range(3)]
    assert names == EARLIER


def test_images_of_equal_content_stay_in_one_fold():
    splits = splits_of()
    splits["train"] = [image._replace(sha256=str(place // 2)) for place, image in enumerate(splits["train"])]
    validated = [names_by_split(splits, 4, fold)["val"] for fold in range(4)]
    assert sorted(name for names in validated for name in names) == NAMES
    for first, second in zip(NAMES[0:6:2], NAMES[1:6:2], strict=True):
        assert [first in names for names in validated] == [second in names for names in validated]


@pytest.mark.parametrize(("folds_of", "images"), [("all", 9), ("train", 6)])
def test_more_folds_than_images_are_refused(folds_of, images):
    with pytest.raises(UserError, match=rf"^convert\.folds is 10, but the data set has {images} different images$"):
        split_by_fold(splits_of(), 10, 0, folds_of)


def test_a_split_without_boxes_is_refused():
    errors = []
    for fold in range(9):
        with pytest.raises(UserError) as error:
            split_by_fold(splits_of(with_boxes=["train/4.png"]), 9, fold)
        errors.append(str(error.value))
    fold_of_the_box = next(fold for fold in range(9) if names_by_split(splits_of(), 9, fold)["val"] == ["train/4.png"])
    assert errors == [
        f"fold {fold} of 9 has no boxes in {'train' if fold == fold_of_the_box else 'val'}; set convert.folds lower"
        for fold in range(9)
    ]
