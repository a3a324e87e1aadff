"""Converting a folder with annotation files and images to COCO annotations."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from viadet.annotations.categories import (
    ONLY_CATEGORY,
    Categories,
    Values,
    category_of,
    choose_categories,
    count_values,
)
from viadet.annotations.coco import ConvertedImage, box_and_outline
from viadet.annotations.faults import Fault, group_faults, user_path
from viadet.annotations.image_names import (
    MISSING,
    FileIndex,
    common_folder,
    index_files,
    likely_place,
    resolve_images,
)
from viadet.annotations.merging import AnnotatedImage, merge_annotations
from viadet.annotations.orientation import UPRIGHT, UnturnedRegion, find_unturned, read_orientation
from viadet.images.decoding import decode_image
from viadet.project.counting import counted, first_names
from viadet.project.errors import FileError, UserError
from viadet.project.files import sha256_of
from viadet.project.params import ConvertParams
from viadet.via.annotation_files import AnnotationFiles, read_annotation_files
from viadet.via.data_files import is_image_file
from viadet.via.images import UnusableError, ViaImage
from viadet.via.reviews import is_suggestion
from viadet.via.shapes import Points, Polyline, clip_outline, outline_of

DAMAGED_FILE = "annotation file"  # the reason of faults
UNTURNED = "drawn before turned by EXIF"  # likewise
DECODERS = 4  # threads; a large photograph takes hundreds of megabytes in each


class Conversion(NamedTuple):
    """What became of one annotated image."""

    image: ConvertedImage | None
    faults: list[Fault]
    polylines: int = 0  # taken as outlines
    suggestions: int = 0  # of a review, that nobody accepted
    regions: Sequence[int] = ()  # the number of each annotation's region, counted from 0


class ResolvedImages(NamedTuple):
    """The entries of all annotation files after a look for their images."""

    images: dict[str, list[ViaImage]]  # by annotation file, as the user knows it; images are named as in the index
    changed: dict[tuple[str, str], str]  # by annotation file and image: images with regions, and other bytes than noted
    faults: list[Fault]  # one for each image that is missing


class DataSet(NamedTuple):
    """What a folder holds; images are named relative to it, with `/` on every system."""

    origin: str  # the folder, as the user knows it
    annotation_files: list[str]  # as the user knows them
    entries: list[AnnotatedImage]  # all images that are there, sorted by file name
    annotated: int  # images that the files name, the missing ones too
    other_files: list[str]  # .json and .csv files that VIA did not write, and what they are
    categories: Categories
    values: Values  # how often each region attribute has which value
    images: list[ConvertedImage]  # sorted by file name
    regions: dict[str, Sequence[int]]  # by file name, the number of each annotation's region
    emptied: list[str]  # images whose regions were all left out
    left_out: dict[str, list[Fault]]  # faults of each of those; and of the others that have no box, by likely places
    unlisted: list[str]  # images without an entry in any annotation file
    filled: list[str]  # images without regions in some annotation file, with regions in another
    changed: list[str]  # images with regions that have other bytes than VIA noted, each with both sizes
    turned: list[str]  # if some image's regions were drawn before EXIF turned it: those where nothing tells
    polylines: list[str]  # images with polylines that were taken as outlines, once for each
    suggestions: list[str]  # images with a review's suggestions that nobody accepted, once for each
    replaced: dict[str, list[str]]  # images as a review has them, by "FILE instead of OTHER FILE"
    faults: list[Fault]  # what was left out, or is an error

    @property
    def has_boxes(self) -> bool:
        """Whether anything is left to learn."""
        return any(image.annotations for image in self.images)


def convert_data_set(folder: Path, origin: str, params: ConvertParams) -> DataSet:
    """Convert all annotated images below a folder; boxes are xywh in px of the upright image.

    What can't be used is not raised but returned, so that all of it can be told at once. In messages, `origin` stands
    for `folder`, as the user knows it.

    Raises:
        UserError: there are no annotation files, or a folder can't be read.
    """
    try:
        index = index_files(folder)
    except FileError as error:
        place = user_path(origin, error.path.relative_to(folder).as_posix())
        raise UserError(f"{place} {error.reason}") from None
    files = read_annotation_files(folder, index.names)
    other_files = [f"{user_path(origin, name)} ({kind})" for name, kind in files.others.items()]
    image_names = [name for name in index.names if is_image_file(PurePath(name))]
    if not files.images:
        found = f"{counted(len(image_names), 'image')} and {', '.join(other_files[:5]) or 'no .json or .csv file'}"
        advice = "export them from VIA as JSON or CSV into this folder"
        raise UserError(f"{origin} has no annotations of VIA: found {found}; {advice}")
    resolved = _resolve_images(files, index, origin)
    annotated, contradictions = merge_annotations(resolved.images)
    faults = [*_damaged_files(files, origin), *resolved.faults, *contradictions]
    regions = [region for image in annotated for region in image.regions if not is_suggestion(region)]
    values = count_values(regions)
    try:
        categories = choose_categories(regions, values, params)
    except UserError as error:
        faults.append(Fault("folder", "category", user_path(origin, ""), f"has no clear categories: {error}"))
        categories = Categories(None, [ONLY_CATEGORY])
    with ThreadPoolExecutor(DECODERS) as pool:
        converted = list(pool.map(lambda entry: _convert_image(entry, folder, origin, categories, params), annotated))
    images = [conversion.image for conversion in converted if conversion.image is not None]
    faults += [fault for conversion in converted for fault in conversion.faults]
    emptied = [image for image in images if image.skipped_regions and not image.annotations]
    if params.emptied_images == "drop":
        images = [image for image in images if image.annotations or not image.skipped_regions]
    listed = {image.file_name for image in annotated}
    left_out = _missing_images(files, resolved.faults, origin) | {
        entry.file_name: conversion.faults
        for entry, conversion in zip(annotated, converted, strict=True)
        if conversion.faults and (conversion.image is None or not conversion.image.annotations)
    }
    return DataSet(
        origin=origin,
        annotation_files=[user_path(origin, name) for name in files.images],
        entries=annotated,
        annotated=len(annotated) + len(resolved.faults),
        other_files=other_files,
        categories=categories,
        values=values,
        images=images,
        regions={entry.file_name: conversion.regions for entry, conversion in zip(annotated, converted, strict=True)},
        emptied=[image.file_name for image in emptied],
        left_out=left_out,
        unlisted=[name for name in image_names if name not in listed],
        filled=[image.file_name for image in annotated if image.has_empty_entry],
        changed=[text for image in annotated if (text := resolved.changed.get((image.source, image.file_name)))],
        turned=_doubtful_images(images, folder) if any(fault.reason == UNTURNED for fault in faults) else [],
        polylines=_once_for_each(annotated, [conversion.polylines for conversion in converted]),
        suggestions=_once_for_each(annotated, [conversion.suggestions for conversion in converted]),
        replaced=_replaced_entries(annotated),
        faults=faults,
    )


def check_has_boxes(data_set: DataSet, params: ConvertParams) -> None:
    """Check that there is at least one box, or a fault that no param skips and so comes first.

    Raises:
        UserError: there is none; says at once why, as nothing is left to skip.
    """
    if data_set.has_boxes or any(fault.param is None for fault in data_set.faults):
        return
    files, count = first_names(data_set.annotation_files), data_set.annotated
    groups = group_faults(data_set.faults, params)
    unusable = sum(len(group.faults) for group in groups if group.kind == "image")
    if not groups:
        reason = "annotate some" if count else "add images in VIA, annotate them, and export or save again"
        raise UserError(f"{files}: no boxes in {counted(count, 'image')}; {reason}")
    group = max(groups, key=lambda group: (group.kind == "region", len(group.faults)))
    if group.kind == "region":
        problem = "no region gives a box"
        of_category = group.param == "other_categories"
        advice = "set convert.attribute and convert.categories to fit" if of_category else "draw shapes with an area"
    elif unusable == count:
        is_missing = len(groups) == 1 and group.reason == MISSING
        problem = f"none of the annotated images {'is there' if is_missing else 'can be used'}"
        advice = f"put the images that VIA shows into {data_set.origin}" if is_missing else "replace them"
    else:
        problem = f"no boxes in {counted(count - unusable, 'image')}, and the others can't be used"
        advice = "annotate some"
    counts = ", ".join(f"{len(group.faults)} {group.reason}" for group in groups)
    raise UserError(f"{files}: {problem} ({counts}); the first: {group.faults[0].sentence}; {advice}")


def _damaged_files(files: AnnotationFiles, origin: str) -> list[Fault]:
    return [
        Fault("file", DAMAGED_FILE, user_path(origin, name), str(error), places=error.places)
        for name, error in files.damaged.items()
    ]


def _resolve_images(files: AnnotationFiles, index: FileIndex, origin: str) -> ResolvedImages:
    """Find the image of each entry; one that several entries name alike and that is missing is one fault."""
    resolved = ResolvedImages({}, {}, [])
    sizes: dict[tuple[str, str], tuple[int, set[int]]] = {}  # the file's own, and those noted beside regions
    missing: dict[tuple[str, str, int | None], list[tuple[str, UnusableError]]] = {}
    for source, images in files.images.items():
        file = user_path(origin, source)
        resolved.images[file] = []
        for image, found in zip(images, resolve_images(images, source, index), strict=True):
            if isinstance(found, UnusableError):
                missing.setdefault((found.reason, image.file_name, image.size), []).append((file, found))
                continue
            resolved.images[file].append(image._replace(file_name=found.name))
            if image.size is not None and image.regions:
                sizes.setdefault((file, found.name), (found.size, set()))[1].add(image.size)
    for (file, name), (size, noted) in sizes.items():
        if size not in noted:
            resolved.changed[file, name] = f"{name} ({size} instead of {min(noted)})"
    for (reason, name, _), ((file, error), *others) in missing.items():
        more = sorted({other for other, _ in others} - {file})
        also = f" (also named in {first_names(more)})" if more else ""
        resolved.faults.append(Fault("image", reason, file, f"{error}{also}", error.param, (name,)))
    return resolved


def _missing_images(files: AnnotationFiles, faults: list[Fault], origin: str) -> dict[str, list[Fault]]:
    """Give the faults of images that were not found by the images' likely places."""
    top = common_folder(image.file_name for images in files.images.values() for image in images)
    missing: dict[str, list[Fault]] = {}
    for fault in faults:
        if fault.is_missing_image:
            source = PurePath(fault.file).relative_to(origin).as_posix()
            missing.setdefault(likely_place(fault.places[0], source, top), []).append(fault)
    return missing


def _convert_image(
    entry: AnnotatedImage, folder: Path, origin: str, categories: Categories, params: ConvertParams
) -> Conversion:
    """Decode an image for its size, and convert its regions; the faults are what can't be used."""
    path = folder / entry.file_name
    try:
        width, height = decode_image(path).size
        digest = sha256_of(path)
    except FileError as error:
        file = user_path(origin, entry.file_name)
        return Conversion(None, [Fault("image", "unreadable image", file, error.reason, "bad_images")])
    outlines = [_outline_or_error(region, params.polyline) for region in entry.regions]
    if unturned := find_unturned(outlines, path, (width, height)):
        return Conversion(None, [_unturned_fault(entry, unturned)])
    annotations: dict[str, dict] = {}
    numbers, faults, clipped_regions, polylines, suggestions = [], [], 0, 0, 0
    for number, (region, outline) in enumerate(zip(entry.regions, outlines, strict=True)):
        if is_suggestion(region):
            suggestions += 1
            continue
        try:
            if isinstance(outline, UnusableError):
                raise outline
            clipped = clip_outline(outline, width, height)
            annotation = {"category_id": category_of(region, categories)} | box_and_outline(clipped)
        except UnusableError as error:
            places = (entry.file_name, f"region {number}")
            faults.append(Fault("region", error.reason, entry.source, str(error), error.param, places))
        else:
            if str(annotation) not in annotations:  # equal regions once
                annotations[str(annotation)] = annotation
                numbers.append(number)
            clipped_regions += clipped != outline
            polylines += region["shape_attributes"]["name"] == "polyline"
    image = ConvertedImage(
        {"file_name": entry.file_name, "width": width, "height": height},
        list(annotations.values()),
        skipped_regions=len(faults),
        clipped_regions=clipped_regions,
        duplicate_regions=len(entry.regions) - suggestions - len(faults) - len(annotations),
        sha256=digest,
    )
    return Conversion(image, faults, polylines, suggestions, numbers)


def _once_for_each(annotated: list[AnnotatedImage], counts: list[int]) -> list[str]:
    """Name each image as often as it has something."""
    return [entry.file_name for entry, count in zip(annotated, counts, strict=True) for _ in range(count)]


def _replaced_entries(annotated: list[AnnotatedImage]) -> dict[str, list[str]]:
    replaced: dict[str, list[str]] = {}
    for entry in annotated:
        for source in entry.replaced:
            replaced.setdefault(f"{entry.source} instead of {source}", []).append(entry.file_name)
    return replaced


def _outline_or_error(region: Any, polyline: Polyline) -> Points | UnusableError:
    try:
        return outline_of(region, polyline)
    except UnusableError as error:
        return error


def _unturned_fault(entry: AnnotatedImage, region: UnturnedRegion) -> Fault:
    box = ", ".join(f"{value:g}" for value in region.upright_xywh)
    width, height = region.stored_wh
    text = (
        f"was drawn in the image as it is stored, {width} x {height} px, before EXIF orientation {region.orientation} "
        f"turns it; upright, its box is [{box}]; delete the orientation from the file (exiftool -Orientation= "
        "FILE), or draw all of its regions again in a browser that turns it"
    )
    return Fault("image", UNTURNED, entry.source, text, "bad_images", (entry.file_name, f"region {region.number}"))


def _doubtful_images(images: list[ConvertedImage], folder: Path) -> list[str]:
    """Name the images with boxes that EXIF turns, too."""
    names = [image.file_name for image in images if image.annotations]
    return [name for name in names if read_orientation(folder / name) != UPRIGHT]
