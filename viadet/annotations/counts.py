"""Counting the images and boxes of a split, for metrics/dataset.json."""

from statistics import median

from viadet.annotations.coco import ConvertedImage

SMALL_AREA, LARGE_AREA = 32**2, 96**2  # px², the limits of COCO's size classes


def count_boxes(images: list[ConvertedImage]) -> dict[str, float]:
    """Count images, boxes by COCO's size classes, and skipped and clipped regions; at least one box is needed."""
    areas = [annotation["area"] for image in images for annotation in image.annotations]
    return {
        "images": len(images),
        "images_without_boxes": sum(not image.annotations for image in images),
        "boxes": len(areas),
        "small": sum(area < SMALL_AREA for area in areas),
        "medium": sum(SMALL_AREA <= area < LARGE_AREA for area in areas),
        "large": sum(area >= LARGE_AREA for area in areas),
        "median_size_px": round(median(area**0.5 for area in areas), 1),
        "skipped_regions": sum(image.skipped_regions for image in images),
        "clipped_regions": sum(image.clipped_regions for image in images),
    }
