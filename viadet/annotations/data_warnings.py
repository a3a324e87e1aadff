"""Warnings about a data set that can be used: a line each, with what to do."""

import re
from collections import Counter, defaultdict
from difflib import get_close_matches

from viadet.annotations.coco import ConvertedImage
from viadet.annotations.object_sizes import median_side_px, tiles_for
from viadet.annotations.splits import Splits, group_equal_images
from viadet.project.counting import counted, first_names
from viadet.project.params import ModelParams


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


FEW_OBJECTS = 10  # for training; with fewer, a category is learnt badly
NAMED_CATEGORIES = 10  # of those


def rarely_seen_categories(splits: Splits, categories: list[str]) -> list[str]:
    """Name the categories with few objects to learn from, the rarest first; those without any are named elsewhere."""
    annotations = [annotation for image in splits.get("train", []) for annotation in image.annotations]
    counts = Counter(annotation["category_id"] for annotation in annotations)
    rare = sorted((counts[number], name) for number, name in enumerate(categories, start=1) if counts[number])
    few = [f"{name} ({count})" for count, name in rare if count < FEW_OBJECTS]
    repeat = "; train.repeat_threshold can repeat those that there are" if len(categories) > 1 else ""
    advice = f"annotate more images with such objects{repeat}"
    names = first_names(few, NAMED_CATEGORIES)
    return [f"train has fewer than {FEW_OBJECTS} objects of {names}; {advice}"] if few else []


FEW_BOXES = 2  # of a category that may be misspelt
TIMES_RARER = 10  # than a category of a similar name, of which one may be misspelt, too
SIMILARITY = 0.75  # of two names, as difflib measures it
OTHER_LETTERS = 2  # that only one of two similar names has


def rare_categories(splits: Splits, categories: list[str]) -> list[str]:
    """Name the categories that may be misspelt, each with an image: with few boxes, or like a far more frequent one."""
    image_names = defaultdict(list)  # of each category's boxes
    for image in (image for images in splits.values() for image in images):
        for annotation in image.annotations:
            image_names[annotation["category_id"]].append(image.file_name)
    counts = {name: len(image_names[category_id]) for category_id, name in enumerate(categories, start=1)}
    words = {name: re.sub("[0-9]+", "", name.casefold()) for name in counts}  # names may well differ in numbers
    rare = []
    for category_id, name in enumerate(categories, start=1):
        count, word = counts[name], words[name]
        frequent = {words[other]: other for other in counts if counts[other] >= TIMES_RARER * count}
        # Comparing letters first spares most of the slow comparisons of many categories.
        candidates = [other for other in frequent if other != word and len({*other} ^ {*word}) <= OTHER_LETTERS]
        similar = [frequent[match] for match in get_close_matches(word, candidates, 1, SIMILARITY)]
        if count and (similar or count <= FEW_BOXES):
            like = f", like {similar[0]}, which has {counts[similar[0]]}" if similar else ""
            rare.append(f"{name} ({counted(count, 'box', 'boxes')}, in {image_names[category_id][0]}{like})")
    return [f"few boxes, check the spelling: {first_names(rare)}"] if rare and len(categories) > 1 else []


def images_without_boxes(splits: Splits) -> list[str]:
    """Tell if most images have no boxes, as do those that nobody looked at."""
    images = [image for images in splits.values() for image in images]
    empty = sum(not image.annotations for image in images)
    text = f"{empty} of {counted(len(images), 'image')} have no boxes, and what they show counts as background"
    advice = "if nobody looked at them, export as CSV and delete their rows, of region_count 0"
    return [f"{text}; {advice}"] if 2 * empty > len(images) else []


def small_objects(coco: dict, model: ModelParams) -> list[str]:
    """Tell if the objects of the training split are so small in the input that tiles would help."""
    tiles = tiles_for(coco, model.test_wh)
    if not tiles:
        return []
    width, height = model.test_wh
    return [
        f"the median object has {median_side_px(coco, model.test_wh):.1f} px in the input of {width} x {height} px; "
        f"evaluate.test_time.tiles: auto adds {tiles} x {tiles} tiles to the views, which show it larger, and auto as "
        "the second number of train.augment.scale trains on it at that size"
    ]


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
    """Count groups of images with the same content.

    In several splits, they make the metrics too good; in one, each counts; with different boxes, some are wrong.
    """
    split_of = {image.file_name: split for split, images in splits.items() for image in images}
    mixed, contradicting, repeated = [], [], []
    for group in group_equal_images(image for images in splits.values() for image in images):
        images = sorted(group, key=lambda image: image.file_name)
        names = [image.file_name for image in images]
        if len({split_of[name] for name in names}) > 1:
            mixed.append(" = ".join(names))
        elif len(images) > 1 and _have_equal_boxes(images):
            repeated.append(" = ".join(names))
        if not _have_equal_boxes(images):
            boxes = [counted(len(image.annotations), "box", "boxes") for image in images]
            contradicting.append(" = ".join(f"{name} ({count})" for name, count in zip(names, boxes, strict=True)))
    kinds = (
        ("in several splits", mixed),
        ("with different boxes; keep the right one of each in VIA", contradicting),
        ("with the same boxes, which count each time; keep one of each in VIA", repeated),
    )
    return [
        f"{counted(len(groups), 'group')} of equal images {text}: {first_names(sorted(groups))}"
        for text, groups in kinds
        if groups
    ]


def changed_images(changed: list[str]) -> list[str]:
    """Count the images whose regions were drawn when the file had other bytes, and may be in another place now."""
    one = len(changed) == 1
    images = (
        "1 image has other bytes than when it was"
        if one
        else f"{len(changed)} images have other bytes than when they were"
    )
    return (
        [f"{images} annotated, such as {first_names(changed)}; look at the boxes in plots/visualise"] if changed else []
    )


def _have_equal_boxes(images: list[ConvertedImage]) -> bool:
    return len({str(sorted(str(annotation) for annotation in image.annotations)) for image in images}) == 1
