"""Merging the images of several annotation files."""

from pathlib import Path
from typing import Any, NamedTuple

from viadet.annotations.via import ViaImage
from viadet.project.errors import UserError

SHOWN_CONFLICTS = 10


class AnnotatedImage(NamedTuple):
    """One image with its regions; a region's number in messages is its place in the list, from 0."""

    file_name: str
    regions: list[Any]  # as in VIA 2, unchecked
    source: Path  # the annotation file that the regions come from
    empty_in: tuple[Path, ...] = ()  # annotation files that list the image without regions, if others have some


def merge_annotations(files: list[tuple[Path, list[ViaImage]]]) -> list[AnnotatedImage]:
    """Merge annotation files, whose file names must be resolved before: different names may mean the same image.

    Identical entries of an image count once. An entry without regions gives way to one with some: those who share the
    work often load all images, and annotate only theirs.

    Returns:
        The images, sorted by file name.

    Raises:
        UserError: entries contradict each other; names all images and files.
    """
    entries: dict[str, list[tuple[Path, list[Any]]]] = {}
    for path, images in files:
        for image in images:
            entries.setdefault(image.file_name, []).append((path, image.regions))
    merged, conflicts = [], []
    for name in sorted(entries):
        filled = [(path, regions) for path, regions in entries[name] if regions]
        source, regions = (filled or entries[name])[0]
        if any(other != regions for _, other in filled):
            conflicts.append(f"{name} ({', '.join(f'{path}: {len(other)} regions' for path, other in filled)})")
        empty_in = tuple(path for path, other in entries[name] if filled and not other)
        merged.append(AnnotatedImage(name, regions, source, empty_in))
    if conflicts:
        others = f"; and {len(conflicts) - SHOWN_CONFLICTS} more" if len(conflicts) > SHOWN_CONFLICTS else ""
        raise UserError(
            f"{len(conflicts)} images have entries with different regions: {'; '.join(conflicts[:SHOWN_CONFLICTS])}"
            f"{others}; keep one entry for each image"
        )
    return merged
