"""Warnings about data sets that can be used."""

from viadet.annotations.coco import ConvertedImage
from viadet.annotations.data_warnings import (
    changed_images,
    contradicting_boxes,
    equal_images,
    images_without_boxes,
    missing_categories,
    rare_categories,
    rarely_seen_categories,
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


def test_categories_with_few_boxes_or_like_a_far_more_frequent_one_may_be_misspelt():
    counts = {"balloon": 60, "baloon": 2, "ballon": 6, "kite": 1, "cow": 3, "type 1": 30, "type 2": 3, "bird": 0}
    boxes = [(9, category_id) for category_id, count in enumerate(counts.values(), 1) for _ in range(count)]
    assert rare_categories({"train": [image("a", *boxes)]}, list(counts)) == [
        "few boxes, check the spelling: baloon (2 boxes, in a, like balloon, which has 60), "
        "ballon (6 boxes, in a, like balloon, which has 60), kite (1 box, in a)"
    ]
    assert rare_categories({"train": [image("a", (9, 1))]}, ["dog"]) == []


def test_categories_with_few_objects_to_learn_from_are_named_once_with_their_counts_the_rarest_first():
    counts = {"plain": 100, "striped": 9, "dotted": 3, "enough": 10, "none": 0}
    boxes = [(9, category_id) for category_id, count in enumerate(counts.values(), 1) for _ in range(count)]
    splits = {"train": [image("a", *boxes[:50]), image("b", *boxes[50:])], "val": [image("c", *[(9, 3)] * 20)]}
    advice = "annotate more images with such objects"
    repeat = "; train.repeat_threshold can repeat those that there are"
    assert rarely_seen_categories(splits, list(counts)) == [
        f"train has fewer than 10 objects of dotted (3), striped (9); {advice}{repeat}"
    ]
    assert rarely_seen_categories({"train": [image("a", *[(9, 1)] * 9)]}, ["dog"]) == [
        f"train has fewer than 10 objects of dog (9); {advice}"
    ]
    assert rarely_seen_categories({"train": [image("a", *[(9, 1)] * 10)]}, ["dog"]) == []
    assert rarely_seen_categories({}, ["dog"]) == []


def test_if_most_images_have_no_boxes_somebody_should_have_looked_at_them():
    filled, empty = [image("a", (9, 1))], [image("b"), image("c")]
    assert images_without_boxes({"train": filled, "val": empty}) == [
        "2 of 3 images have no boxes, and what they show counts as background; if nobody looked at them, "
        "export as CSV and delete their rows, of region_count 0"
    ]
    assert images_without_boxes({"train": filled, "val": empty[:1]}) == []


def test_equal_outlines_with_two_categories_are_counted():
    twice = ConvertedImage({"file_name": "a"}, [{"segmentation": [[1, 2]], "category_id": c} for c in (1, 2)])
    assert contradicting_boxes({"train": [twice]}) == [
        "1 region with the outline of another one but a different category, in a"
    ]


def test_equal_images_in_two_splits_are_named():
    splits = {"train": [image("a", content="x"), image("b", content="x")], "val": [image("c", content="x"), image("d")]}
    assert equal_images(splits) == ["1 group of equal images in several splits: a = b = c"]


def test_equal_images_in_one_split_are_named_with_their_boxes_where_these_differ():
    splits = {"train": [image("a", (9, 1), content="x"), image("b", (9, 1), content="x"), image("c", content="z")]}
    counted_twice = "1 group of equal images with the same boxes, which count each time; keep one of each in VIA: a = b"
    assert equal_images(splits) == [counted_twice]
    splits["train"] += [image("d", (8, 1), (9, 1), content="y"), image("e", (9, 1), content="y")]
    different = "with different boxes; keep the right one of each in VIA: d (2 boxes) = e (1 box)"
    assert equal_images(splits) == [f"1 group of equal images {different}", counted_twice]
    splits["val"] = [image("f", (9, 2), content="z")]
    assert equal_images(splits) == [
        "1 group of equal images in several splits: c = f",
        "2 groups of equal images with different boxes; keep the right one of each in VIA: c (0 boxes) = f (1 box), "
        "d (2 boxes) = e (1 box)",
        counted_twice,
    ]


def test_images_that_were_changed_after_they_were_annotated_are_counted():
    assert changed_images([]) == []
    assert changed_images(["a (1 instead of 2)"]) == [
        "1 image has other bytes than when it was annotated, such as a (1 instead of 2); "
        "look at the boxes in plots/visualise"
    ]
    assert changed_images(list("abcde"))[0].startswith(
        "5 images have other bytes than when they were annotated, such as a, b, c and 2 more; "
    )
