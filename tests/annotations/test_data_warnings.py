"""Warnings about data sets that can be used."""

from viadet.annotations.coco import ConvertedImage
from viadet.annotations.data_warnings import (
    contradicting_boxes,
    crowded_images,
    equal_images,
    missing_categories,
    rare_categories,
    small_boxes,
)


def image(name: str, *boxes: tuple[float, int], content: str = "") -> ConvertedImage:
    """An image of 640 x 320 px with square boxes of a side in px and a category."""
    annotations = [
        {"area": side**2, "category_id": category, "segmentation": [[place, side]]}
        for place, (side, category) in enumerate(boxes)
    ]
    return ConvertedImage({"file_name": name, "width": 640, "height": 320}, annotations, sha256=content or name)


def test_categories_that_a_split_lacks_are_named():
    splits = {"train": [image("a", (9, 1))], "val": [image("b", (9, 2))]}
    assert missing_categories(splits, ["cat", "dog", "cow"]) == [
        "train has no boxes of dog, cow, which can't be learnt",
        "val has no boxes of cat, cow, which can't be measured",
    ]


def test_a_category_with_one_box_may_be_misspelt():
    assert rare_categories({"train": [image("a", (9, 1), (8, 1), (7, 2))]}, ["dog", "dgo", "cow"]) == [
        "there is only one box of dgo (a); check the spelling"
    ]


def test_equal_outlines_with_two_categories_are_counted():
    twice = ConvertedImage({"file_name": "a"}, [{"segmentation": [[1, 2]], "category_id": c} for c in (1, 2)])
    assert contradicting_boxes({"train": [twice]}) == [
        "1 region with the outline of another one but a different category, in a"
    ]


def test_equal_images_in_two_splits_are_named():
    splits = {"train": [image("a", content="x"), image("b", content="x")], "val": [image("c", content="x"), image("d")]}
    assert equal_images(splits) == ["1 group of equal images in several splits: a = b = c"]
    assert equal_images({"train": splits["train"], "val": []}) == []


def test_images_with_more_objects_than_detections_are_named():
    splits = {"train": [image("a", *[(9, 1)] * 133)], "val": [image("b", *[(9, 1)] * 100)]}
    assert crowded_images(splits, 100) == [
        "1 image with more objects than evaluate.max_detections (100), up to 133: a; set it to 200 or more"
    ]
    assert crowded_images(splits, 133) == []


def test_small_boxes_are_counted_with_the_sizes_that_would_fit():
    # In an input of 320 px, boxes of 32 px have 16.
    splits = {"train": [image("a", *[(32, 1)] * 3)], "val": [image("b", (100, 1))]}
    assert small_boxes(splits, (320, 320), 4.0) == [
        "3 of 4 boxes are smaller than the smallest anchor, which has 32 px in the input of 320 x 320 px "
        "(95% have at least 16.0 px); model.image_size 640 or model.anchor_scale 2.0 would fit 95%"
    ]
    assert small_boxes(splits, (640, 640), 4.0) == []
    assert small_boxes(splits, (320, 320), 2.0) == []


def test_boxes_that_no_size_fits_need_smaller_images():
    [line] = small_boxes({"train": [image("a", (4, 1))]}, (640, 640), 4.0)
    assert line.endswith("(95% have at least 4.0 px); model.anchor_scale 0.5 would fit 95%")
    [line] = small_boxes({"train": [image("a", (2, 1))]}, (640, 640), 4.0)
    assert line.endswith("; cut the images into smaller ones")
