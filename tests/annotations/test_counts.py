from viadet.annotations.coco import ConvertedImage
from viadet.annotations.report import count_split


def test_boxes_are_counted_by_cocos_size_classes_and_by_category():
    boxes = [(31.9**2, 1), (32**2, 1), (95.9**2, 2), (96**2, 1), (100**2, 1)]
    images = [
        ConvertedImage({}, [{"area": area, "category_id": category} for area, category in boxes], skipped_regions=2),
        ConvertedImage({}, [], skipped_regions=1, clipped_regions=3, duplicate_regions=1),
    ]
    counts = count_split(images, ["balloon", "kite", "bird"])
    by_category = counts.pop("categories")
    assert counts == {
        "images": 2,
        "images_without_boxes": 1,
        "boxes": 5,
        "small": 1,
        "medium": 2,
        "large": 2,
        "median_size_px": 95.9,
        "skipped_regions": 3,
        "clipped_regions": 3,
        "duplicate_regions": 1,
    }
    kite = {"images": 1, "boxes": 1, "small": 0, "medium": 1, "large": 0, "median_size_px": 95.9}
    bird = dict.fromkeys(kite, 0) | {"median_size_px": None}
    assert (by_category["kite"], by_category["bird"]) == (kite, bird)
