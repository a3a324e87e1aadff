"""The report of a data set: figures for metrics, details for a file, lines for the terminal."""

from typing import Any, NamedTuple

import yaml

from viadet.annotations.categories import describe_counts
from viadet.annotations.convert import DAMAGED_FILE, DataSet
from viadet.annotations.counts import count_split
from viadet.annotations.data_warnings import warnings_of
from viadet.annotations.faults import LISTED_PLACES, PRINTED_REASONS, FaultGroup, group_faults
from viadet.annotations.splits import Splits
from viadet.project.counting import counted
from viadet.project.params import Recipe

PRINTED_CATEGORIES = 20
PRINTED_NAMES = 3


class Report(NamedTuple):
    """What a data set holds, what was left out of it, and what is doubtful."""

    data_set: DataSet
    counts: dict[str, dict[str, Any]]  # by split
    groups: list[FaultGroup]
    warnings: list[str]


def make_report(data_set: DataSet, splits: Splits, recipe: Recipe) -> Report:
    """Gather the report; there are no splits yet if the data set has faults that are errors."""
    counts = {split: count_split(images, data_set.categories.names) for split, images in splits.items()}
    warnings = warnings_of(splits, data_set.categories.names, recipe) if splits else []
    return Report(data_set, counts, group_faults(data_set.faults, recipe.convert), warnings)


def describe_data_set(data_set: DataSet) -> str:
    """Say how many images there are, and where they and their annotations are."""
    files = data_set.annotation_files
    shown = ", ".join(files[:PRINTED_NAMES]) + ", ..." * (len(files) > PRINTED_NAMES)
    return f"{counted(len(data_set.images), 'image')} of {data_set.origin}, annotated in {shown}"


def report_metrics(report: Report) -> dict[str, int]:
    """Give the few figures that experiments are compared by."""
    metrics = {f"{split}_{key}": counts[key] for split, counts in report.counts.items() for key in ("images", "boxes")}
    kinds = [fault.kind for fault in report.data_set.faults]
    converted = {image.image["file_name"] for image in report.data_set.images}
    return metrics | {
        "categories": len(report.data_set.categories.names),
        "left_out_images": kinds.count("image") + len(set(report.data_set.emptied) - converted),
        "left_out_regions": kinds.count("region"),
    }


def report_details(report: Report) -> dict[str, Any]:
    """Give everything, for a JSON file."""
    attribute, names = report.data_set.categories
    return {
        "annotation_files": report.data_set.annotation_files,
        "other_files": report.data_set.other_files,
        "values": report.data_set.values,
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
                "places": [f"{fault.place} {fault.text}" for fault in group.faults[:LISTED_PLACES]],
            }
            for group in report.groups
        ],
        "images_emptied": report.data_set.emptied,
        "images_without_entry": report.data_set.unlisted,
        "images_with_and_without_regions": report.data_set.filled,
        "warnings": report.warnings,
    }


def report_lines(report: Report, recipe: Recipe) -> list[str]:
    """Give the lines for the terminal; with faults that are errors, only these and what helps to fix them."""
    data_set = report.data_set
    lines = [line for split, counts in report.counts.items() for line in _split_lines(split, counts)]
    for group in report.groups[:PRINTED_REASONS]:
        lines.append(f"{'error' if group.is_error else f'left out by convert.{group.param}'}: {group.summary()}")
    more = report.groups[PRINTED_REASONS:]
    count = sum(len(group.faults) for group in more)
    reasons = counted(len(more), "other reason")
    lines += [f"and {count} more for {reasons}, see metrics/dataset_report.json"] if more else []
    lines += [f"not written by VIA: {text}" for text in data_set.other_files[:PRINTED_NAMES]]
    if not any(fault.reason == DAMAGED_FILE for fault in data_set.faults):  # it would list some of them
        lines += _name_line("left out: {} without an entry in an annotation file", data_set.unlisted)
    lines += _name_line("{} with regions in one annotation file and none in another", data_set.filled)
    if not report.counts:
        values = f"values of {data_set.categories.attribute}: {describe_counts(data_set.values)}"
        return [*lines, values] if data_set.values else lines
    verb = "left out" if recipe.convert.emptied_images == "drop" else "kept"
    lines += _name_line(f"{verb} by convert.emptied_images: {{}} whose regions were all left out", data_set.emptied)
    duplicates = sum(counts["duplicate_regions"] for counts in report.counts.values())
    lines += [f"left out: {counted(duplicates, 'region')} equal to another one of the same image"] if duplicates else []
    clipped = sum(counts["clipped_regions"] for counts in report.counts.values())
    lines += [f"clipped: {counted(clipped, 'region')} that reached beyond the edge of the image"] if clipped else []
    return lines + [f"warning: {line}" for line in report.warnings] + _found_params(data_set, recipe)


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
    more = ", ..." if len(names) > PRINTED_NAMES else ""
    return [f"{text.format(counted(len(names), 'image'))}: {', '.join(names[:PRINTED_NAMES])}{more}"] if names else []


def _found_params(data_set: DataSet, recipe: Recipe) -> list[str]:
    """Give what `auto` stood for, as lines of params.yaml."""
    if "auto" not in (recipe.convert.attribute, recipe.convert.categories):
        return []
    attribute, names = data_set.categories
    text = yaml.safe_dump({"categories": names, "attribute": attribute}, sort_keys=False, allow_unicode=True)
    return ["found, to copy into params.yaml:", "  convert:", *(f"    {line}" for line in text.splitlines())]
