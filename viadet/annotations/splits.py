"""Splitting a data set into train, val and test: by the names of its folders, by shares, or into folds."""

import posixpath
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Literal

from viadet.annotations.coco import ConvertedImage
from viadet.project.counting import counted
from viadet.project.errors import UserError
from viadet.project.params import SplitParams

SPLITS = ("train", "val", "test")
FOLDER_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
NO_BOXES = 0  # stands for a category id of images without boxes: they are spread over the splits as well
Splits = dict[str, list[ConvertedImage]]


def split_data_set(
    images: list[ConvertedImage], unlisted: list[str], params: SplitParams | None, origin: str
) -> tuple[Splits, str]:
    """Split by folders named train, val and test in any depth, or by the shares of `params` if there are none.

    The names of images without annotations, `unlisted`, only tell which folders there are.

    Returns:
        The images of train, val and, where there are some, test; and how they were found, in words.

    Raises:
        UserError: the folders are no splits, there are too few images, or a split has no boxes.
    """
    try:
        splits, how = _split(images, unlisted, params)
        for split, members in splits.items():
            if not any(image.annotations for image in members):
                raise UserError(f"{split}: no boxes in {counted(len(members), 'image')}; annotate some")
    except UserError as error:
        raise UserError(f"{origin}: {error}") from None
    return {split: splits[split] for split in SPLITS if split in splits}, how


def _split(images: list[ConvertedImage], unlisted: list[str], params: SplitParams | None) -> tuple[Splits, str]:
    names = [image.file_name for image in images]
    folders = split_folders([*names, *unlisted])
    splits: Splits = {}
    if any(folders.values()):
        _check_folders(folders, set(names))
        for name, image in zip(names, images, strict=True):
            splits.setdefault(folders[name], []).append(image)
    has_folders = "by the folders " + " and ".join(split for split in SPLITS if split in splits)
    if not splits:
        return split_by_shares(images, params), "by convert.split, without folders named train and val"
    if "val" not in splits:
        shares = params and params.model_copy(update={"test": 0.0})
        return splits | split_by_shares(splits["train"], shares), f"{has_folders}, val by convert.split"
    return splits, has_folders


def split_folders(names: list[str]) -> dict[str, str | None]:
    """Find the split of each image: its first folder that is named as one, below the folder that holds all images.

    It is None for all images if there are no splits: a lone folder `train` is none.
    """
    parents = [str(PurePosixPath(name).parent) for name in names]
    depth = len(PurePosixPath(posixpath.commonpath(parents or ["."])).parts)
    splits = {}
    for name in names:
        folders = [part.casefold() for part in PurePosixPath(name).parts[depth:-1]]
        splits[name] = next((FOLDER_SPLITS[folder] for folder in folders if folder in FOLDER_SPLITS), None)
    return dict.fromkeys(names) if set(splits.values()) <= {None, "train"} else splits


def split_by_shares(images: list[ConvertedImage], params: SplitParams | None) -> Splits:
    """Split by shares of the images, so that each category has about the same shares of its images.

    The assignment depends on names, contents, categories and the seed, not on the order of the images. Images of equal
    content stay together. After Sechidis et al., On the Stratification of Multi-Label Data (2011): the rarest category
    first, each of its images into the split that lacks most of it.

    Raises:
        UserError: there are fewer images than splits.
    """
    if params is None:
        raise UserError("convert.split is null, but the images are not in the folders train and val; set val: 0.2")
    shares = {"train": 1 - params.val - params.test, "val": params.val, "test": params.test}
    shares = {split: share for split, share in shares.items() if share > 0}
    groups = group_equal_images(sorted(images, key=lambda image: image.file_name))
    groups.sort(key=lambda group: sha256(f"{params.seed} {group[0].file_name} {group[0].sha256}".encode()).digest())
    if len(groups) < len(shares):
        raise UserError(f"convert.split needs at least {len(shares)} different images, found {len(groups)}; add some")
    split_of = _stratify(groups, shares)
    return {split: [image for image in images if split_of[image.file_name] == split] for split in shares}


def split_by_fold(splits: Splits, folds: int, fold: int, folds_of: Literal["all", "train"] = "all") -> Splits:
    """Split images into train and val for cross-validation: each image is in val in exactly one of the folds.

    The assignment depends on names and contents, not on a seed or the order of the images. Images of equal content
    stay together. Test images stay as they are. Folds are counted from 0. If they are folds of "train" alone, images of
    val are left out, so that what is chosen by the folds is chosen without them.

    Raises:
        UserError: there are fewer different images than folds, or one of the new splits has no boxes.
    """
    images = splits["train"] if folds_of == "train" else [*splits["train"], *splits["val"]]
    groups = group_equal_images(sorted(images, key=lambda image: sha256(image.file_name.encode()).digest()))
    if len(groups) < folds:
        raise UserError(f"convert.folds is {folds}, but the data set has {counted(len(groups), 'different image')}")
    val = {image.file_name for group in groups[fold::folds] for image in group}
    new_splits = {
        "train": [image for image in images if image.file_name not in val],
        "val": [image for image in images if image.file_name in val],
    }
    for name, split_images in new_splits.items():
        if not any(image.annotations for image in split_images):
            raise UserError(f"fold {fold} of {folds} has no boxes in {name}; set convert.folds lower")
    return splits | new_splits


def group_equal_images(images: Iterable[ConvertedImage]) -> list[list[ConvertedImage]]:
    """Group images of equal content, in the order of the first of each group."""
    groups: dict[str, list[ConvertedImage]] = {}
    for image in images:
        groups.setdefault(image.sha256 or image.file_name, []).append(image)
    return list(groups.values())


def _check_folders(folders: dict[str, str | None], annotated: set[str]) -> None:
    """Check that every annotated image is in a split, and that train and val have some."""
    outside = sorted(name for name in annotated if folders[name] is None)
    counts = Counter(split for split in folders.values() if split)
    found = ", ".join(f"{split} ({counted(counts[split], 'image')})" for split in SPLITS if counts[split])
    if outside:
        raise UserError(
            f"found the folders {found}, but {counted(len(outside), 'annotated image')} outside of them, such as "
            f"{outside[0]}; move them into a folder train, val or test, or rename these folders"
        )
    needed = {"train", *(split for split in ("train", "val") if counts[split])}
    for split in sorted(needed - {folders[name] for name in annotated}):
        raise UserError(
            f"found the folders {found}, but no annotated images in {split}; annotate some, or remove that folder"
        )


def _stratify(groups: list[list[ConvertedImage]], shares: dict[str, float]) -> dict[str, str]:
    """Assign the images of each group, by their names, to a split."""
    categories = [{a["category_id"] for image in group for a in image.annotations} or {NO_BOXES} for group in groups]
    counts = Counter(category for ids in categories for category in ids)
    lacking = {split: {category: share * n for category, n in counts.items()} for split, share in shares.items()}
    lacking_groups = {split: share * len(groups) for split, share in shares.items()}
    split_of: dict[int, str] = {}  # by the place of a group
    while len(split_of) < len(groups):
        left = [index for index in range(len(groups)) if index not in split_of]
        left_counts = Counter(category for index in left for category in categories[index])
        rarest = min(left_counts, key=lambda category: (left_counts[category], category))
        for index in (index for index in left if rarest in categories[index]):
            split = max(shares, key=lambda split: (lacking[split][rarest], lacking_groups[split]))
            split_of[index] = split
            lacking_groups[split] -= 1
            for category in categories[index]:
                lacking[split][category] -= 1
    for split in sorted(shares.keys() - set(split_of.values())):  # a small share of few images
        largest = max(shares, key=lambda split: list(split_of.values()).count(split))
        split_of[[index for index, value in split_of.items() if value == largest][-1]] = split
    return {image.file_name: split_of[index] for index, group in enumerate(groups) for image in group}
