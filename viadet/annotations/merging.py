"""Merging the images of several annotation files."""

from collections import Counter
from typing import Any, NamedTuple

from viadet.annotations.faults import Fault
from viadet.project.counting import counted
from viadet.via.images import ViaImage

CONTRADICTION = "contradicting entries"  # how the reason of such faults begins
ATTRIBUTES_ONLY = "in attributes only"
Entry = tuple[str, list[Any]]  # of an image in an annotation file: the file and the regions


class AnnotatedImage(NamedTuple):
    """One image with its regions; a region's number in messages is its place in the list, from 0."""

    file_name: str
    regions: list[Any]  # as in VIA 2, unchecked
    source: str  # the annotation file that the regions come from
    has_empty_entry: bool = False  # beside this one, which has regions
    file_attributes: Any = None  # of VIA 2, unchecked; None: there are none
    replaced: tuple[str, ...] = ()  # other files, whose entries do not count: this one is of a later review


class Difference(NamedTuple):
    """Entries of an image that have different regions."""

    file_name: str
    one: Entry
    other: Entry
    kind: str


def merge_annotations(files: dict[str, list[ViaImage]]) -> tuple[list[AnnotatedImage], list[Fault]]:
    """Merge annotation files, whose file names must be resolved before: different names may mean the same image.

    Entries with the same regions count once. An entry without regions gives way to one with some: those who share the
    work often load all images, and annotate only theirs. An entry of a review replaces those that it reviewed: all that
    are of no review, or of an earlier one.

    Returns:
        The images, sorted by file name, and for each image whose entries have different regions a fault with the
        first difference; that image has the regions of its first entry. All such images of two files have the same
        reason, which counts them.
    """
    by_name: dict[str, list[tuple[str, ViaImage]]] = {}
    for source, images in files.items():
        for image in images:
            by_name.setdefault(image.file_name, []).append((source, image))
    merged, differences = [], []
    filled_in: dict[str, set[str]] = {source: set() for source in files}  # images with regions
    for name, images in sorted(by_name.items()):
        latest = max(image.review for _, image in images)
        entries = [(source, image) for source, image in images if image.review == latest]
        replaced = tuple(dict.fromkeys(source for source, image in images if image.review != latest))
        with_regions = [(source, image) for source, image in entries if image.regions]
        source, first = (with_regions or entries)[0]
        is_filled = 0 < len(with_regions) < len(entries)
        merged.append(AnnotatedImage(name, first.regions, source, is_filled, first.file_attributes, replaced))
        filled: list[Entry] = [(source, image.regions) for source, image in with_regions]
        for file, _ in filled:
            filled_in[file].add(name)
        for other in filled[1:]:
            if kind := _kind_of_difference(first.regions, other[1]):
                differences.append(Difference(name, filled[0], other, kind))
    return merged, _contradictions(differences, filled_in)


def _kind_of_difference(one: list[Any], other: list[Any]) -> str | None:
    """Say how the regions of two entries differ; their order makes no difference."""
    if one == other or (all(region in other for region in one) and all(region in one for region in other)):
        return None
    shapes, other_shapes = ([_shape_of(region) for region in regions] for regions in (one, other))
    same_shapes = all(shape in other_shapes for shape in shapes) and all(shape in shapes for shape in other_shapes)
    if same_shapes and len(shapes) == len(other_shapes):
        return ATTRIBUTES_ONLY
    if not any(shape in other_shapes for shape in shapes):
        return "in all regions"
    return "in some regions"


def _shape_of(region: Any) -> Any:
    return region.get("shape_attributes") if isinstance(region, dict) else region


def _contradictions(differences: list[Difference], filled_in: dict[str, set[str]]) -> list[Fault]:
    """Give a fault for each image of each pair of files that contradict each other; all of a pair have one reason."""
    pairs: dict[tuple[str, str], list[Difference]] = {}
    for difference in differences:
        pairs.setdefault((difference.one[0], difference.other[0]), []).append(difference)
    faults = []
    for (one, other), members in pairs.items():
        kinds = Counter(difference.kind for difference in members)
        differ = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        shared = counted(len(filled_in[one] & filled_in[other]), "image")
        where = f"{one} and {other}, which share {shared}" if one != other else f"{one} alone"
        text = "is in only one of the two entries; remove the image from one of them"
        if one != other and set(kinds) != {ATTRIBUTES_ONLY}:
            text += (
                ", or if both are right, as of two people who drew different objects, import both exports into VIA 2 "
                "(Annotation, Import Annotations), export the result, and keep that file alone"
            )
        faults += [
            Fault("image", f"{CONTRADICTION} in {where}: {differ}", places[0], text, places=places[1:])
            for places in map(_first_difference, members)
        ]
    return faults


def _first_difference(difference: Difference) -> tuple[str, str, str]:
    """Find a region that only one of two entries of an image has: the file, the image and the region."""
    name, one, other, _ = difference
    (source, regions), (_, other_regions) = other, one
    if all(region in other_regions for region in regions):
        (source, regions), (_, other_regions) = one, other
    number = next(number for number, region in enumerate(regions) if region not in other_regions)
    return source, name, f"region {number}"
