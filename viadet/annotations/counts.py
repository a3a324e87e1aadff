"""Counting the images and boxes of a split, in all and by category."""

from collections import Counter, defaultdict
from statistics import median
from typing import Any

from viadet.annotations.coco import ConvertedImage

SMALL_AREA, LARGE_AREA = 32**2, 96**2  # px², the limits of COCO's size classes


def count_split(images: list[ConvertedImage], categories: list[str]) -> dict[str, Any]:
    """Count images, boxes, and regions that were left out or clipped; boxes also by size and by category."""
    annotations = [annotation for image in images for annotation in image.annotations]
    groups, image_counts = defaultdict(list), Counter()
    for image in images:
        image_counts.update({annotation["category_id"] for annotation in image.annotations})
    for annotation in annotations:
        groups[annotation["category_id"]].append(annotation)
    by_category = {
        name: {"images": image_counts[category_id]} | count_sizes(groups[category_id])
        for category_id, name in enumerate(categories, start=1)
    }
    return {
        "images": len(images),
        "images_without_boxes": sum(not image.annotations for image in images),
        "skipped_regions": sum(image.skipped_regions for image in images),
        "clipped_regions": sum(image.clipped_regions for image in images),
        "duplicate_regions": sum(image.duplicate_regions for image in images),
        "categories": by_category,
    } | count_sizes(annotations)


def count_sizes(annotations: list[dict]) -> dict[str, Any]:
    """Count boxes by COCO's size classes; the median size is the root of the area, None without boxes."""
    areas = [annotation["area"] for annotation in annotations]
    return {
        "boxes": len(areas),
        "small": sum(area < SMALL_AREA for area in areas),
        "medium": sum(SMALL_AREA <= area < LARGE_AREA for area in areas),
        "large": sum(area >= LARGE_AREA for area in areas),
        "median_size_px": round(median(area**0.5 for area in areas), 1) if areas else None,
    }
