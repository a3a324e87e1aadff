"""The report of a data set: figures for metrics, details for a file, lines for the terminal."""

from collections import Counter, defaultdict
from statistics import median
from typing import Any, NamedTuple

import yaml

from viadet.annotations.categories import describe_counts
from viadet.annotations.coco import ConvertedImage
from viadet.annotations.convert import DAMAGED_FILE, DataSet
from viadet.annotations.data_warnings import warnings_of
from viadet.annotations.faults import LISTED_PLACES, PRINTED_REASONS, FaultGroup, group_faults, user_path
from viadet.annotations.splits import Splits
from viadet.project.counting import counted, first_names
from viadet.project.params import ConvertParams

PRINTED_CATEGORIES = 20
PRINTED_NAMES = 3
SMALL_AREA, LARGE_AREA = 32**2, 96**2  # px², the limits of COCO's size classes


class Report(NamedTuple):
    """What a data set holds, what was left out of it, and what is doubtful."""

    data_set: DataSet
    counts: dict[str, dict[str, Any]]  # by split
    groups: list[FaultGroup]
    warnings: list[str]


def make_report(data_set: DataSet, splits: Splits, params: ConvertParams) -> Report:
    """Gather the report; there are no splits yet if the data set has faults that are errors."""
    counts = {split: count_split(images, data_set.categories.names) for split, images in splits.items()}
    warnings = warnings_of(splits, data_set.categories.names) if splits else []
    return Report(data_set, counts, group_faults(data_set.faults, params), warnings)


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


def describe_data_set(data_set: DataSet) -> str:
    """Say how many images there are, and where they and their annotations are."""
    files = [user_path(data_set.origin, name) for name in data_set.annotation_files]
    return f"{counted(len(data_set.images), 'image')} of {data_set.origin}, annotated in {first_names(files)}"


def report_metrics(report: Report) -> dict[str, int]:
    """Give the few figures that experiments are compared by."""
    metrics = {f"{split}_{key}": counts[key] for split, counts in report.counts.items() for key in ("images", "boxes")}
    kinds = [fault.kind for fault in report.data_set.faults]
    converted = {image.file_name for image in report.data_set.images}
    return metrics | {
        "categories": len(report.data_set.categories.names),
        "left_out_images": kinds.count("image") + len(set(report.data_set.emptied) - converted),
        "left_out_regions": kinds.count("region"),
    }


def report_details(report: Report) -> dict[str, Any]:
    """Give everything, for a JSON file."""
    data_set = report.data_set
    attribute, names = data_set.categories
    return {
        "annotation_files": [user_path(data_set.origin, name) for name in data_set.annotation_files],
        "other_files": _other_files(data_set),
        "values": data_set.values,
        "attribute": attribute,
        "categories": names,
        "splits": report.counts,
        "faults": [
            {
                "kind": group.kind,
                "reason": group.reason,
                "count": len(group.faults),
                "decided_by": group.param and f"convert.{group.param}",
                "is_error": group.is_error,
                "places": [fault.sentence(data_set.origin) for fault in group.faults[:LISTED_PLACES]],
            }
            for group in report.groups
        ],
        "images_emptied": data_set.emptied,
        "images_without_entry": data_set.unlisted,
        "images_with_and_without_regions": data_set.filled,
        "warnings": report.warnings,
    }


def report_lines(report: Report, params: ConvertParams) -> list[str]:
    """Give the lines for the terminal; with faults that are errors, only these and what helps to fix them."""
    data_set = report.data_set
    lines = [line for split, counts in report.counts.items() for line in _split_lines(split, counts)]
    for group in report.groups[:PRINTED_REASONS]:
        decision = "error" if group.is_error else f"left out by convert.{group.param}"
        lines.append(f"{decision}: {group.summary(data_set.origin)}")
    more = report.groups[PRINTED_REASONS:]
    count = sum(len(group.faults) for group in more)
    reasons = counted(len(more), "other reason")
    lines += [f"and {count} more for {reasons}, see metrics/dataset_report.json"] if more else []
    lines += [f"not written by VIA: {text}" for text in _other_files(data_set)[:PRINTED_NAMES]]
    if not any(fault.reason == DAMAGED_FILE for fault in data_set.faults):  # it would list some of them
        lines += _name_line("left out: {} without an entry in an annotation file", data_set.unlisted)
    lines += _name_line("{} with regions in one annotation file and none in another", data_set.filled)
    if not report.counts:
        values = f"values of {data_set.categories.attribute}: {describe_counts(data_set.values)}"
        return [*lines, values] if data_set.values else lines
    verb = "left out" if params.emptied_images == "drop" else "kept"
    lines += _name_line(f"{verb} by convert.emptied_images: {{}} whose regions were all left out", data_set.emptied)
    duplicates = sum(counts["duplicate_regions"] for counts in report.counts.values())
    lines += [f"left out: {counted(duplicates, 'region')} equal to another one of the same image"] if duplicates else []
    clipped = sum(counts["clipped_regions"] for counts in report.counts.values())
    lines += [f"clipped: {counted(clipped, 'region')} that reached beyond the edge of the image"] if clipped else []
    return lines + [f"warning: {line}" for line in report.warnings] + _found_params(data_set, params)


def _other_files(data_set: DataSet) -> list[str]:
    return [f"{user_path(data_set.origin, name)} ({kind})" for name, kind in data_set.other_files.items()]


def _split_lines(split: str, counts: dict[str, Any]) -> list[str]:
    sizes = ", ".join(f"{counts[size]} {size}" for size in ("small", "medium", "large"))
    empty = f" ({counts['images_without_boxes']} without boxes)" if counts["images_without_boxes"] else ""
    median = f"median size {counts['median_size_px']} px"
    images, boxes = _images_and_boxes(counts)
    lines = [f"{split}: {images}{empty}, {boxes}: {sizes}, {median}"]
    if len(counts["categories"]) == 1:
        return lines
    for name, category in list(counts["categories"].items())[:PRINTED_CATEGORIES]:
        median = f", median size {category['median_size_px']} px" if category["boxes"] else ""
        images, boxes = _images_and_boxes(category)
        lines.append(f"  {name}: {boxes} in {images}{median}")
    more = len(counts["categories"]) - PRINTED_CATEGORIES
    return [*lines, f"  and {counted(more, 'more category', 'more categories')}"] if more > 0 else lines


def _images_and_boxes(counts: dict[str, Any]) -> tuple[str, str]:
    return counted(counts["images"], "image"), counted(counts["boxes"], "box", "boxes")


def _name_line(text: str, names: list[str]) -> list[str]:
    """Give a line with the count of images and the first names, or none without names."""
    return [f"{text.format(counted(len(names), 'image'))}: {first_names(names)}"] if names else []


def _found_params(data_set: DataSet, params: ConvertParams) -> list[str]:
    """Give what `auto` stood for, as lines of params.yaml."""
    if "auto" not in (params.attribute, params.categories):
        return []
    attribute, names = data_set.categories
    text = yaml.safe_dump({"categories": names, "attribute": attribute}, sort_keys=False, allow_unicode=True)
    return ["found, to copy into params.yaml:", "  convert:", *(f"    {line}" for line in text.splitlines())]
