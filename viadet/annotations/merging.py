"""Merging the images of several annotation files."""

from pathlib import Path
from typing import Any, NamedTuple

from viadet.annotations.via import ViaImage

Entry = tuple[Path, list[Any]]  # of an image in an annotation file: the file and the regions


class AnnotatedImage(NamedTuple):
    """One image with its regions; a region's number in messages is its place in the list, from 0."""

    file_name: str
    regions: list[Any]  # as in VIA 2, unchecked
    source: Path  # the annotation file that the regions come from
    empty_in: tuple[Path, ...] = ()  # annotation files that list the image without regions, if others have some


class Contradiction(NamedTuple):
    """A region that only one of two entries of an image has."""

    source: Path  # the annotation file with the region
    file_name: str
    region: int  # its place in the entry, from 0
    other: Path  # the annotation file with the other entry; may be the same


def merge_annotations(
    files: dict[Path, list[ViaImage]],
) -> tuple[list[AnnotatedImage], list[Contradiction]]:
    """Merge annotation files, whose file names must be resolved before: different names may mean the same image.

    Entries with the same regions count once. An entry without regions gives way to one with some: those who share the
    work often load all images, and annotate only theirs.

    Returns:
        The images, sorted by file name, and for each image whose entries have different regions the first difference;
        that image has the regions of its first entry.
    """
    entries: dict[str, list[Entry]] = {}
    for path, images in files.items():
        for image in images:
            entries.setdefault(image.file_name, []).append((path, image.regions))
    merged, contradictions = [], []
    for name in sorted(entries):
        filled = [(path, regions) for path, regions in entries[name] if regions]
        source, regions = (filled or entries[name])[0]
        empty_in = tuple(path for path, other in entries[name] if filled and not other)
        merged.append(AnnotatedImage(name, regions, source, empty_in))
        differences = (_first_difference(name, filled[0], other) for other in filled[1:])
        contradictions += [difference for difference in differences if difference][:1]
    return merged, contradictions


def _first_difference(file_name: str, one: Entry, other: Entry) -> Contradiction | None:
    """Find a region that only one of two entries of an image has; their order makes no difference."""
    if one[1] == other[1]:
        return None
    for (path, regions), (other_path, other_regions) in ((other, one), (one, other)):
        for number, region in enumerate(regions):
            if region not in other_regions:
                return Contradiction(path, file_name, number, other_path)
    return None
