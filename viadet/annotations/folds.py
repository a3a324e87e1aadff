"""Folds for cross-validation."""

from hashlib import sha256

from viadet.annotations.coco import ConvertedImage
from viadet.project.errors import UserError


def into_folds(images: list[ConvertedImage], folds: int, fold: int) -> dict[str, list[ConvertedImage]]:
    """Split images anew for cross-validation: each of them validates in just one of the folds.

    The order in which they are dealt comes from their names alone: no seed, no order of files changes it.

    Raises:
        UserError: there are fewer images than folds, or no boxes on one side.
    """
    if len(images) < folds:
        raise UserError(f"convert.folds is {folds}, but there are {len(images)} images")
    dealt = sorted(range(len(images)), key=lambda i: sha256(images[i].image["file_name"].encode()).digest())
    val = set(dealt[fold::folds])
    splits = {"train": [im for i, im in enumerate(images) if i not in val], "val": [images[i] for i in sorted(val)]}
    for name, part in splits.items():
        if not any(image.annotations for image in part):
            raise UserError(f"fold {fold} of {folds} has no boxes to {name}; set convert.folds lower")
    return splits
