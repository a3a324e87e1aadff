"""Folds for cross-validation."""

from hashlib import sha256

from viadet.annotations.coco import ConvertedImage
from viadet.project.errors import UserError


def split_by_fold(images: list[ConvertedImage], folds: int, fold: int) -> dict[str, list[ConvertedImage]]:
    """Split images into train and val for cross-validation: each image is in val in exactly one of the folds.

    The assignment depends on the file names alone, not on a seed or the order of the images.

    Args:
        images: of both original splits.
        folds: number of folds, k.
        fold: number of the fold that validates, from 0.

    Raises:
        UserError: there are fewer images than folds, or one of the new splits has no boxes.
    """
    if len(images) < folds:
        raise UserError(f"convert.folds is {folds}, but there are only {len(images)} images")
    shuffled = sorted(range(len(images)), key=lambda i: sha256(images[i].image["file_name"].encode()).digest())
    val = set(shuffled[fold::folds])
    splits = {
        "train": [image for i, image in enumerate(images) if i not in val],
        "val": [image for i, image in enumerate(images) if i in val],
    }
    for name, split_images in splits.items():
        if not any(image.annotations for image in split_images):
            raise UserError(f"fold {fold} of {folds} has no boxes in {name}; set convert.folds lower")
    return splits
