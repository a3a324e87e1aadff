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
    empty_in: tuple[str, ...] = ()  # annotation files that list the image without regions, if others have some


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
        empty_in = tuple(file for file, listed in entries[name] if filled and not listed)
        merged.append(AnnotatedImage(name, regions, source, empty_in))
        differences = (_first_difference(name, filled[0], other) for other in filled[1:])
        contradictions += [difference for difference in differences if difference][:1]
    return merged, contradictions


def _first_difference(file_name: str, one: Entry, other: Entry) -> Fault | None:
    """Find a region that only one of two entries of an image has; their order makes no difference."""
    if one[1] == other[1]:
        return None
    for (source, regions), (other_source, other_regions) in ((other, one), (one, other)):
        for number, region in enumerate(regions):
            if region not in other_regions:
                return Fault(
                    "image",
                    "contradicting entries",
                    "is missing in another entry of the image",
                    file=source,
                    image=file_name,
                    region=number,
                    other_file=other_source,
                    advice="remove the image from one of them",
                )
    return None
