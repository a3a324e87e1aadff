"""Splitting a data set into train, val and test: by the names of its folders, by shares, or into folds."""

import posixpath
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Literal

from viadet.annotations.coco import ConvertedImage
from viadet.annotations.faults import Fault, count_left_out
from viadet.project.counting import counted, first_names
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
    images: list[ConvertedImage],
    unlisted: list[str],
    left_out: dict[str, list[Fault]],
    params: SplitParams | None,
    origin: str,
) -> tuple[Splits, str]:
    """Split by folders named train, val and test in any depth, or by the shares of `params` if there are none.

    The names of images without annotations, `unlisted`, and of annotated ones that were left out, each with its faults,
    only tell which folders there are, and what became of them.

    Returns:
        The images of train, val and, where there are some, test; and how they were found, in words.

    Raises:
        UserError: the folders are no splits, there are too few images, or a split has no boxes.
    """
    try:
        splits, how = _split(images, unlisted, left_out, params)
        for split, members in splits.items():
            if not any(image.annotations for image in members):
                faults = [fault for image in members for fault in left_out.get(image.file_name, [])]
                reason = f"{count_left_out(faults)}; fix these, or " if faults else ""
                raise UserError(f"{split}: no boxes in {counted(len(members), 'image')}; {reason}annotate some")
    except UserError as error:
        raise UserError(f"{origin}: {error}") from None
    return {split: splits[split] for split in SPLITS if split in splits}, how


def _split(
    images: list[ConvertedImage], unlisted: list[str], left_out: dict[str, list[Fault]], params: SplitParams | None
) -> tuple[Splits, str]:
    names = [image.file_name for image in images]
    folders = _find_folders(names, unlisted, left_out)
    splits: Splits = {}
    if any(folders.values()):
        _check_folders(folders, set(names), left_out)
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


def check_shared_categories(splits: Splits, names: list[str], origin: str) -> None:
    """Check that each split has boxes of a category that train has, too.

    Otherwise its AP is 0 whatever is learnt, which nobody would want to wait for.

    Raises:
        UserError: a split has none; names the categories of both.
    """
    found = {split: {a["category_id"] for i in images for a in i.annotations} for split, images in splits.items()}
    for split in found:
        if not found[split] & found["train"]:
            shown = {side: first_names([names[i - 1] for i in sorted(found[side])]) for side in ("train", split)}
            raise UserError(
                f"{origin}: train has boxes of {shown['train']} alone and {split} of {shown[split]}, so that nothing "
                "learnt can be measured; give the same objects the same name in both, or annotate more images"
            )


def group_equal_images(images: Iterable[ConvertedImage]) -> list[list[ConvertedImage]]:
    """Group images of equal content, in the order of the first of each group."""
    groups: dict[str, list[ConvertedImage]] = {}
    for image in images:
        groups.setdefault(image.sha256 or image.file_name, []).append(image)
    return list(groups.values())


def _find_folders(names: list[str], unlisted: list[str], left_out: dict[str, list[Fault]]) -> dict[str, str | None]:
    """Find the split of each image, also of those that are missing.

    Where a missing image belongs is a guess: it counts if it is a split, and leaves all annotated images in theirs.
    """
    missing = {name for name, faults in left_out.items() if faults[0].is_missing_image}
    present = [*names, *unlisted, *(name for name in left_out if name not in missing)]
    folders = split_folders(present)
    with_missing = split_folders([*present, *missing])
    with_missing = split_folders([*present, *(name for name in missing if with_missing[name])])
    fits = all(with_missing[name] and folders[name] in (None, with_missing[name]) for name in names)
    return with_missing if fits else folders


def _check_folders(folders: dict[str, str | None], annotated: set[str], left_out: dict[str, list[Fault]]) -> None:
    """Check that every annotated image is in a split, that train and val have some, and that none was emptied."""
    outside = sorted(name for name in annotated if folders[name] is None)
    counts = Counter(split for split in folders.values() if split)
    found = ", ".join(f"{split} ({counted(counts[split], 'image')})" for split in SPLITS if counts[split])
    if outside:
        raise UserError(
            f"found the folders {found}, but {counted(len(outside), 'annotated image')} outside of them, such as "
            f"{outside[0]}; move them into a folder train, val or test, or rename these folders"
        )
    filled = {folders[name] for name in annotated}
    emptied = [name for name in left_out if folders.get(name) not in {None, *filled}]
    if emptied:
        splits = " and ".join(sorted({folders[name] for name in emptied}))
        faults = [fault for name in emptied for fault in left_out[name]]
        raise UserError(
            f"found the folders {found}, but nothing is left of {splits}: {count_left_out(faults)}; fix these, "
            f"or take the {counted(len(emptied), 'image')} out of the folder and of the annotation files"
        )
    needed = {"train", *(split for split in ("train", "val") if counts[split])}
    for split in sorted(needed - filled):
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
    for split in sorted(shares):  # a small share of few images, or of few with boxes
        _give_boxes(split, split_of, categories)
    return {image.file_name: split_of[index] for index, group in enumerate(groups) for image in group}


def _give_boxes(split: str, split_of: dict[int, str], categories: list[set[int]]) -> None:
    """Move a group with boxes to a split that has none, from the one that has most; any group to an empty split.

    It is one whose categories others there have, too. A group without boxes goes back in exchange.
    """
    members = {other: [index for index in split_of if split_of[index] == other] for other in SPLITS}
    with_boxes = {other: [i for i in indices if categories[i] != {NO_BOXES}] for other, indices in members.items()}
    if with_boxes[split]:
        return
    donor = max(SPLITS, key=lambda other: len(with_boxes[other]))
    candidates = with_boxes[donor]
    if len(candidates) < 2:  # the donor needs one itself
        if members[split]:
            return
        donor = max(SPLITS, key=lambda other: len(members[other]))
        candidates = members[donor]
    counts = Counter(category for index in candidates for category in categories[index])
    given = max(candidates, key=lambda index: min(counts[category] for category in categories[index]))
    if members[split]:
        split_of[members[split][-1]] = donor
    split_of[given] = split
