from viadet.annotations.coco import ConvertedImage
from viadet.annotations.counts import count_boxes


def test_boxes_are_counted_by_cocos_size_classes():
    areas = [31.9**2, 32**2, 95.9**2, 96**2, 100**2]
    images = [
        ConvertedImage({}, [{"area": area} for area in areas], skipped_regions=2, clipped_regions=0),
        ConvertedImage({}, [], skipped_regions=1, clipped_regions=3),
    ]
    assert count_boxes(images) == {
        "images": 2,
        "images_without_boxes": 1,
        "boxes": 5,
        "small": 1,
        "medium": 2,
        "large": 2,
        "median_size_px": 95.9,
        "skipped_regions": 3,
        "clipped_regions": 3,
    }
