"""Warnings about a data set that can be used: a line each, with what to do."""

from collections import defaultdict

from viadet.annotations.splits import Splits, group_equal_images
from viadet.project.counting import counted, first_names


def missing_categories(splits: Splits, categories: list[str]) -> list[str]:
    """Name the categories that a split has no boxes of."""
    lines = []
    for split, images in splits.items():
        ids = {annotation["category_id"] for image in images for annotation in image.annotations}
        missing = [name for category_id, name in enumerate(categories, start=1) if category_id not in ids]
        if missing:
            effect = "learnt" if split == "train" else "measured"
            lines.append(f"{split} has no boxes of {first_names(missing)}, which can't be {effect}")
    return lines


def rare_categories(splits: Splits, categories: list[str]) -> list[str]:
    """Name the categories with one box, which may be misspelt, each with its image."""
    image_names = defaultdict(list)  # of each category's boxes
    for image in (image for images in splits.values() for image in images):
        for annotation in image.annotations:
            image_names[annotation["category_id"]].append(image.file_name)
    rare = [
        f"{name} ({image_names[category_id][0]})"
        for category_id, name in enumerate(categories, start=1)
        if len(image_names[category_id]) == 1
    ]
    return [f"there is only one box of {first_names(rare)}; check the spelling"] if rare else []


def contradicting_boxes(splits: Splits) -> list[str]:
    """Count outlines that occur with two categories in an image."""
    names = []
    for image in (image for images in splits.values() for image in images):
        outlines = [str(annotation["segmentation"]) for annotation in image.annotations]
        names += [image.file_name] * (len(outlines) - len(set(outlines)))
    regions = counted(len(names), "region")
    text = f"{regions} with the outline of another one but a different category, in {first_names(names)}"
    return [text] if names else []


def equal_images(splits: Splits) -> list[str]:
    """Count images with the same content in several splits, which makes the metrics too good."""
    split_of = {image.file_name: split for split, images in splits.items() for image in images}
    groups = group_equal_images(image for images in splits.values() for image in images)
    names = [sorted(image.file_name for image in group) for group in groups]
    mixed = sorted(" = ".join(group) for group in names if len({split_of[name] for name in group}) > 1)
    return [f"{counted(len(mixed), 'group')} of equal images in several splits: {first_names(mixed)}"] if mixed else []
