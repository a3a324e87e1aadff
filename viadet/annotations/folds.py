"""Folds for cross-validation."""

from hashlib import sha256
from typing import Literal

from viadet.annotations.coco import ConvertedImage
from viadet.annotations.splits import Splits
from viadet.project.counting import counted
from viadet.project.errors import UserError


def split_by_fold(splits: Splits, folds: int, fold: int, folds_of: Literal["all", "train"] = "all") -> Splits:
    """Split images into train and val for cross-validation: each image is in val in exactly one of the folds.

    The assignment depends on names and contents, not on a seed or the order of the images. Images of equal content
    stay together. Test images stay as they are.

    Args:
        splits: the images of train, val and, if there is one, test.
        folds: number of folds, k.
        fold: number of the fold that validates, from 0.
        folds_of: "all" splits the images of train and val; "train" those of train, and leaves those of val out, so
            that what is chosen by the folds is chosen without them.

    Raises:
        UserError: there are fewer different images than folds, or one of the new splits has no boxes.
    """
    images = splits["train"] if folds_of == "train" else [*splits["train"], *splits["val"]]
    groups = _shuffled_groups(images)
    if len(groups) < folds:
        raise UserError(f"convert.folds is {folds}, but the data set has {counted(len(groups), 'different image')}")
    val = {index for group in groups[fold::folds] for index in group}
    new_splits = {
        "train": [image for i, image in enumerate(images) if i not in val],
        "val": [image for i, image in enumerate(images) if i in val],
    }
    for name, split_images in new_splits.items():
        if not any(image.annotations for image in split_images):
            raise UserError(f"fold {fold} of {folds} has no boxes in {name}; set convert.folds lower")
    return splits | new_splits


def _shuffled_groups(images: list[ConvertedImage]) -> list[list[int]]:
    """Group the indices of images of equal content, in an order that looks random."""
    shuffled = sorted(range(len(images)), key=lambda i: sha256(images[i].image["file_name"].encode()).digest())
    groups: dict[str, list[int]] = {}
    for index in shuffled:
        groups.setdefault(images[index].sha256 or images[index].image["file_name"], []).append(index)
    return list(groups.values())
