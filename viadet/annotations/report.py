"""The report of a data set: figures for metrics, details for a file, lines for the terminal."""

import math
import re
from collections import Counter, defaultdict
from statistics import median
from typing import Any

import yaml

from viadet.annotations.categories import Categories, describe_counts, shown_name
from viadet.annotations.coco import ConvertedImage
from viadet.annotations.convert import DAMAGED_FILE, DataSet
from viadet.annotations.data_warnings import (
    changed_images,
    contradicting_boxes,
    equal_images,
    images_without_boxes,
    missing_categories,
    rare_categories,
    rarely_seen_categories,
)
from viadet.annotations.faults import LISTED_PLACES, PRINTED_REASONS, group_faults
from viadet.annotations.splits import Splits
from viadet.project.counting import counted, first_names
from viadet.project.params import ConvertParams

PRINTED_CATEGORIES = 20
PRINTED_NAMES = 3
PLAIN_TEXT = re.compile("[A-Za-z][ -~]*")
LISTED_VALUES = 100  # of each attribute, in the report's file
SMALL_AREA, LARGE_AREA = 32**2, 96**2  # px², the limits of COCO's size classes


class ParamsDumper(yaml.SafeDumper):
    """Writes texts that YAML 1.1 and 1.2 read as they were: without quotes only where it is plain that they are texts.

    PyYAML knows 1.1 alone, in which 1e3 is a text. Escapes in double quotes survive a terminal that prints ASCII alone.
    """

    def represent_text(self, text: str) -> yaml.Node:
        """Choose the quotes."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, None if PLAIN_TEXT.fullmatch(text) else '"')


ParamsDumper.add_representer(str, ParamsDumper.represent_text)


class Report:
    """What a data set holds, what was left out of it, and what is doubtful."""

    def __init__(self, data_set: DataSet, splits: Splits, params: ConvertParams) -> None:
        names = data_set.categories.names
        self.data_set, self.params = data_set, params
        self.groups = group_faults(data_set.faults, params)
        self.counts = {split: count_split(images, names) for split, images in splits.items()}
        self.warnings = [
            *missing_categories(splits, names),
            *rare_categories(splits, names),
            *rarely_seen_categories(splits, names),
            *contradicting_boxes(splits),
            *equal_images(splits),
            *images_without_boxes(splits),
            *changed_images(data_set.changed),
        ]
        images = sorted((image for images in splits.values() for image in images), key=lambda image: image.file_name)
        self.duplicates = [image.file_name for image in images for _ in range(image.duplicate_regions)]
        self.clipped = [image.file_name for image in images for _ in range(image.clipped_regions)]

    def metrics(self) -> dict[str, int]:
        """Give the few figures that experiments are compared by."""
        metrics = {
            f"{split}_{key}": counts[key] for split, counts in self.counts.items() for key in ("images", "boxes")
        }
        kinds = [fault.kind for fault in self.data_set.faults]
        converted = {image.file_name for image in self.data_set.images}
        return metrics | {
            "categories": len(self.data_set.categories.names),
            "left_out_images": kinds.count("image") + len(set(self.data_set.emptied) - converted),
            "left_out_regions": kinds.count("region"),
        }

    def details(self) -> dict[str, Any]:
        """Give everything, for a JSON file."""
        return {
            "annotation_files": self.data_set.annotation_files,
            "other_files": self.data_set.other_files,
            "values": {
                attribute: {shown_name(name): count for name, count in counts.most_common(LISTED_VALUES)}
                for attribute, counts in sorted(self.data_set.values.items())
            },
            "attribute": self.data_set.categories.attribute,
            "categories": self.data_set.categories.names,
            "splits": self.counts,
            "faults": [
                {
                    "kind": group.kind,
                    "reason": group.reason,
                    "count": len(group.faults),
                    "decided_by": group.param and f"convert.{group.param}",
                    "is_error": group.is_error,
                    "places": [fault.sentence for fault in group.faults[:LISTED_PLACES]],
                }
                for group in self.groups
            ],
            "images_emptied": self.data_set.emptied,
            "images_without_entry": self.data_set.unlisted,
            "images_with_and_without_regions": self.data_set.filled,
            "images_with_other_bytes": self.data_set.changed,
            "images_turned_by_exif": self.data_set.turned,
            "images_with_equal_regions": Counter(self.duplicates),
            "images_with_clipped_regions": Counter(self.clipped),
            "images_with_polylines_as_outlines": Counter(self.data_set.polylines),
            "images_with_suggestions": Counter(self.data_set.suggestions),
            "images_of_reviews": self.data_set.replaced,
            "warnings": self.warnings,
        }

    def lines(self) -> list[str]:
        """Give the lines for the terminal; with faults that are errors, only these and what helps to fix them."""
        data_set = self.data_set
        lines = [line for split, counts in self.counts.items() for line in _split_lines(split, counts)]
        is_last_line = sum(len(group.faults) for group in self.groups if group.is_error) == 1  # the error tells it
        for group in self.groups[is_last_line:PRINTED_REASONS]:
            decision = "error" if group.is_error else f"left out by convert.{group.param}"
            lines.append(f"{decision}: {group.summary}")
        if more := self.groups[PRINTED_REASONS:]:
            count = sum(len(group.faults) for group in more)
            lines.append(f"and {count} more for {counted(len(more), 'other reason')}, see metrics/dataset_report.json")
        lines += [f"not written by VIA: {text}" for text in data_set.other_files[:PRINTED_NAMES]]
        if not any(fault.reason == DAMAGED_FILE for fault in data_set.faults):  # it would list some of them
            lines += _name_line("left out: {} without an entry in an annotation file", data_set.unlisted)
        lines += _name_line("{} with regions in one annotation file and none in another", data_set.filled)
        lines += _name_line(
            "warning: {} turned by EXIF as well, whose regions fit both ways; check them, too", data_set.turned
        )
        if not self.counts:
            attribute = data_set.categories.attribute
            counts = data_set.values.get(attribute)
            return [*lines, f"values of {attribute}: {describe_counts(counts)}"] if counts else lines
        verb = "left out" if self.params.emptied_images == "drop" else "kept"
        lines += _name_line(f"{verb} by convert.emptied_images: {{}} whose regions were all left out", data_set.emptied)
        lines += _region_line("left out: {} equal to another one of the same image", self.duplicates)
        lines += _region_line("clipped: {} that reached beyond the edge of the image", self.clipped)
        lines += _region_line("taken as outlines by convert.polyline: {}", data_set.polylines, "polyline")
        lines += _region_line("left out: {} of a review that nobody accepted", data_set.suggestions, "suggestion")
        for files, names in data_set.replaced.items():
            lines += _name_line(f"{{}} as reviewed in {files}", names)
        return lines + [f"warning: {line}" for line in self.warnings] + found_params(data_set.categories, self.params)


def count_split(images: list[ConvertedImage], categories: list[str]) -> dict[str, Any]:
    """Count images, boxes, and regions that were left out or clipped; boxes also by size and by category."""
    groups, image_counts = defaultdict(list), Counter()
    for image in images:
        image_counts.update({annotation["category_id"] for annotation in image.annotations})
        for annotation in image.annotations:
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
    } | count_sizes([annotation for image in images for annotation in image.annotations])


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


def _split_lines(split: str, counts: dict[str, Any]) -> list[str]:
    sizes = ", ".join(f"{counts[size]} {size}" for size in ("small", "medium", "large"))
    empty = f" ({counts['images_without_boxes']} without boxes)" if counts["images_without_boxes"] else ""
    median = f"median size {counts['median_size_px']} px"
    images, boxes = counted(counts["images"], "image"), counted(counts["boxes"], "box", "boxes")
    lines = [f"{split}: {images}{empty}, {boxes}: {sizes}, {median}"]
    if len(counts["categories"]) == 1:
        return lines
    for name, category in list(counts["categories"].items())[:PRINTED_CATEGORIES]:
        median = f", median size {category['median_size_px']} px" if category["boxes"] else ""
        images, boxes = counted(category["images"], "image"), counted(category["boxes"], "box", "boxes")
        lines.append(f"  {name}: {boxes} in {images}{median}")
    more = len(counts["categories"]) - PRINTED_CATEGORIES
    return [*lines, f"  and {counted(more, 'more category', 'more categories')}"] if more > 0 else lines


def _name_line(text: str, names: list[str]) -> list[str]:
    """Give a line with the count of images and the first names, or none without names."""
    return [f"{text.format(counted(len(names), 'image'))}: {first_names(names)}"] if names else []


def _region_line(text: str, image_names: list[str], noun: str = "region") -> list[str]:
    """Give a line with the count of regions and the first of their images, or none without regions."""
    images = list(dict.fromkeys(image_names))
    return [f"{text.format(counted(len(image_names), noun))}: in {first_names(images)}"] if images else []


def found_params(categories: Categories, params: ConvertParams) -> list[str]:
    """Give what `auto` stood for, as lines of params.yaml."""
    if "auto" not in (params.attribute, params.categories):
        return []
    attribute, names = categories
    said = ""
    if attribute is None and params.attribute == "auto":
        said = f" (no region has a value in any attribute, so all are {names[0]})"
    found = {"categories": names, "attribute": attribute}
    text = yaml.dump(found, Dumper=ParamsDumper, sort_keys=False, allow_unicode=True, width=math.inf)
    return [f"found{said}, to copy into params.yaml:", "  convert:", *(f"    {line}" for line in text.splitlines())]
