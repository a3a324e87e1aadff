"""Merging the images of several annotation files."""

from typing import Any, NamedTuple

from viadet.annotations.faults import Fault
from viadet.via.images import ViaImage

Entry = tuple[str, list[Any]]  # of an image in an annotation file: the file and the regions


class AnnotatedImage(NamedTuple):
    """One image with its regions; a region's number in messages is its place in the list, from 0."""

    file_name: str
    regions: list[Any]  # as in VIA 2, unchecked
    source: str  # the annotation file that the regions come from
    has_empty_entry: bool = False  # beside this one, which has regions


def merge_annotations(files: dict[str, list[ViaImage]]) -> tuple[list[AnnotatedImage], list[Fault]]:
    """Merge annotation files, whose file names must be resolved before: different names may mean the same image.

    Entries with the same regions count once. An entry without regions gives way to one with some: those who share the
    work often load all images, and annotate only theirs.

    Returns:
        The images, sorted by file name, and for each image whose entries have different regions a fault with the
        first difference; that image has the regions of its first entry.
    """
    entries: dict[str, list[Entry]] = {}
    for source, images in files.items():
        for image in images:
            entries.setdefault(image.file_name, []).append((source, image.regions))
    merged, contradictions = [], []
    for name in sorted(entries):
        filled = [entry for entry in entries[name] if entry[1]]
        source, regions = (filled or entries[name])[0]
        merged.append(AnnotatedImage(name, regions, source, 0 < len(filled) < len(entries[name])))
        differences = (_first_difference(name, filled[0], other) for other in filled[1:] if other[1] != regions)
        contradictions += [difference for difference in differences if difference][:1]
    return merged, contradictions


def _first_difference(file_name: str, one: Entry, other: Entry) -> Fault | None:
    """Find a region that only one of two entries of an image has; their order makes no difference."""
    for (source, regions), (other_source, other_regions) in ((other, one), (one, other)):
        for number, region in enumerate(regions):
            if region not in other_regions:
                place = "the same file" if other_source == source else other_source
                text = f"is missing in another entry of the image in {place}; remove the image from one of them"
                return Fault("image", "contradicting entries", source, text, places=(file_name, f"region {number}"))
    return None
