"""Warnings about a data set that can be used: a line each, with what to do."""

import math
from collections import defaultdict

from viadet.annotations.coco import ConvertedImage
from viadet.annotations.splits import Splits
from viadet.project.counting import counted
from viadet.project.params import P3_STRIDE_PX, SIDE_PX, Recipe

FITTED_SHARE = 0.95  # of the boxes that the proposed sizes fit
SHOWN = 3  # images or categories named in a line


def warnings_of(splits: Splits, categories: list[str], recipe: Recipe) -> list[str]:
    """Give all warnings, without line breaks."""
    return [
        *missing_categories(splits, categories),
        *rare_categories(splits, categories),
        *contradicting_boxes(splits),
        *equal_images(splits),
        *crowded_images(splits, recipe.evaluate.max_detections),
        *small_boxes(splits, recipe.model.input_wh, recipe.model.anchor_scale),
    ]


def missing_categories(splits: Splits, categories: list[str]) -> list[str]:
    """Name the categories that a split has no boxes of."""
    lines = []
    for split, images in splits.items():
        ids = {annotation["category_id"] for image in images for annotation in image.annotations}
        missing = [name for category_id, name in enumerate(categories, start=1) if category_id not in ids]
        if missing:
            effect = "learnt" if split == "train" else "measured"
            lines.append(f"{split} has no boxes of {_some(missing)}, which can't be {effect}")
    return lines


def rare_categories(splits: Splits, categories: list[str]) -> list[str]:
    """Name the categories with one box, which may be misspelt, each with its image."""
    image_names = defaultdict(list)  # of each category's boxes
    for image in (image for images in splits.values() for image in images):
        for annotation in image.annotations:
            image_names[annotation["category_id"]].append(image.image["file_name"])
    rare = [
        f"{name} ({image_names[category_id][0]})"
        for category_id, name in enumerate(categories, start=1)
        if len(image_names[category_id]) == 1
    ]
    return [f"there is only one box of {_some(rare)}; check the spelling"] if rare else []


def contradicting_boxes(splits: Splits) -> list[str]:
    """Count outlines that occur with two categories in an image."""
    names = []
    for image in (image for images in splits.values() for image in images):
        outlines = [str(annotation["segmentation"]) for annotation in image.annotations]
        names += [image.image["file_name"]] * (len(outlines) - len(set(outlines)))
    regions = counted(len(names), "region")
    return [f"{regions} with the outline of another one but a different category, in {_some(names)}"] if names else []


def equal_images(splits: Splits) -> list[str]:
    """Count images with the same content in several splits, which makes the metrics too good."""
    splits_of = defaultdict(set)
    names_of = defaultdict(list)
    for split, images in splits.items():
        for image in images:
            splits_of[image.sha256].add(split)
            names_of[image.sha256].append(image.image["file_name"])
    mixed = [" = ".join(sorted(names_of[digest])) for digest, members in splits_of.items() if len(members) > 1]
    groups = counted(len(mixed), "group")
    return [f"{groups} of equal images in several splits: {_some(sorted(mixed))}"] if mixed else []


def crowded_images(splits: Splits, max_detections: int) -> list[str]:
    """Name images with more objects than the detector gives detections."""
    counts = {i.image["file_name"]: len(i.annotations) for images in splits.values() for i in images}
    crowded = sorted((name for name, count in counts.items() if count > max_detections), key=lambda name: -counts[name])
    if not crowded:
        return []
    return [
        f"{counted(len(crowded), 'image')} with more objects than evaluate.max_detections ({max_detections}), up to "
        f"{counts[crowded[0]]}: {_some(crowded)}; set it to {math.ceil(counts[crowded[0]] / 100) * 100} or more"
    ]


def small_boxes(splits: Splits, input_wh: tuple[int, int], anchor_scale: float) -> list[str]:
    """Count boxes that are smaller than the smallest anchor in the network's input, and propose sizes that fit them.

    Args:
        splits: the data set.
        input_wh: size of the input in training, px.
        anchor_scale: side of the smallest anchor, in strides.
    """
    sizes = sorted(size for images in splits.values() for image in images for size in _sizes_px(image, input_wh))
    anchor_px = anchor_scale * P3_STRIDE_PX
    small = [size for size in sizes if size < anchor_px]
    if not small:
        return []
    size = sizes[int((1 - FITTED_SHARE) * len(sizes))]
    line = (
        f"{len(small)} of {len(sizes)} boxes {'is' if len(small) == 1 else 'are'} smaller than the smallest anchor, "
        f"which has {anchor_px:g} px in the input of {input_wh[0]} x {input_wh[1]} px"
    )
    if size >= anchor_px:
        return [line]
    sides = [math.ceil(side * anchor_px / size / 128) * 128 for side in input_wh]
    scale = math.floor(size / P3_STRIDE_PX * 2) / 2
    choices = [f"model.image_size {sides[0] if len(set(sides)) == 1 else sides}"] if max(sides) <= SIDE_PX[1] else []
    choices += [f"model.anchor_scale {scale}"] if scale >= 0.5 else []
    proposal = f"{' or '.join(choices)} would fit {FITTED_SHARE:.0%}" if choices else "cut the images into smaller ones"
    return [f"{line} ({FITTED_SHARE:.0%} have at least {size:.1f} px); {proposal}"]


def _sizes_px(image: ConvertedImage, input_wh: tuple[int, int]) -> list[float]:
    scale = min(input_wh[0] / image.image["width"], input_wh[1] / image.image["height"])
    return [annotation["area"] ** 0.5 * scale for annotation in image.annotations]


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
