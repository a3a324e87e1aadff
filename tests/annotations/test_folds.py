"""Folds for cross-validation."""

import pytest

from viadet.annotations.coco import ConvertedImage
from viadet.annotations.folds import split_by_fold
from viadet.project.errors import UserError

NAMES = [f"train/{number}.png" for number in range(6)] + [f"val/{number}.png" for number in range(3)]


def images(names=NAMES, with_boxes=NAMES) -> list[ConvertedImage]:
    return [ConvertedImage({"file_name": name}, [{}] * (name in with_boxes), 0, 0) for name in names]


def names_by_split(images, folds, fold) -> dict[str, list[str]]:
    splits = split_by_fold(images, folds, fold)
    return {split: [image.image["file_name"] for image in images] for split, images in splits.items()}


def test_every_image_validates_in_exactly_one_fold_and_trains_in_the_others():
    validated = []
    for fold in range(4):
        splits = names_by_split(images(), 4, fold)
        assert sorted(splits["train"] + splits["val"]) == NAMES
        assert len(splits["val"]) in (2, 3)
        validated += splits["val"]
    assert sorted(validated) == NAMES
    assert any(name.startswith("train/") for name in validated[:3])  # not simply the original validation images


def test_folds_depend_on_file_names_alone():
    for fold in range(4):
        forwards, backwards = (names_by_split(images(names), 4, fold) for names in (NAMES, NAMES[::-1]))
        assert {split: sorted(names) for split, names in backwards.items()} == forwards


def test_more_folds_than_images_are_refused():
    with pytest.raises(UserError, match=r"^convert\.folds is 10, but there are only 9 images$"):
        split_by_fold(images(), 10, 0)


def test_a_split_without_boxes_is_refused():
    errors = []
    for fold in range(9):
        with pytest.raises(UserError) as error:
            split_by_fold(images(with_boxes=["train/4.png"]), 9, fold)
        errors.append(str(error.value))
    fold_of_the_box = next(fold for fold in range(9) if names_by_split(images(), 9, fold)["val"] == ["train/4.png"])
    assert errors == [
        f"fold {fold} of 9 has no boxes in {'train' if fold == fold_of_the_box else 'val'}; set convert.folds lower"
        for fold in range(9)
    ]
