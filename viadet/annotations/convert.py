"""Converting a folder with annotation files and images to COCO annotations."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath
from typing import NamedTuple

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
from viadet.annotations.image_names import FileIndex, common_folder, index_files, likely_place, resolve_image
from viadet.annotations.merging import AnnotatedImage, merge_annotations
from viadet.images.decoding import decode_image
from viadet.project.counting import counted
from viadet.project.errors import FileError, UserError
from viadet.project.files import sha256_of
from viadet.project.params import ConvertParams
from viadet.via.annotation_files import AnnotationFiles, read_annotation_files
from viadet.via.data_files import is_image_file
from viadet.via.images import UnusableError, ViaImage
from viadet.via.shapes import clip_outline, outline_of

DAMAGED_FILE = "annotation file"  # the reason of faults
DECODERS = 4  # threads; a large photograph takes hundreds of megabytes in each


class DataSet(NamedTuple):
    """What a folder holds; images are named relative to it, with `/` on every system."""

    origin: str  # the folder, as the user knows it
    annotation_files: list[str]  # as the user knows them
    other_files: list[str]  # .json and .csv files that VIA did not write, and what they are
    categories: Categories
    values: Values  # how often each region attribute has which value
    images: list[ConvertedImage]  # sorted by file name
    emptied: list[str]  # images whose regions were all left out
    left_out: dict[str, list[Fault]]  # faults of each of those; and of the others that have no box, by likely places
    unlisted: list[str]  # images without an entry in any annotation file
    filled: list[str]  # images without regions in some annotation file, with regions in another
    faults: list[Fault]  # what was left out, or is an error


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
    annotated, faults = _merge_files(files, index, origin)
    regions = [region for image in annotated for region in image.regions]
    try:
        categories = choose_categories(regions, params)
    except UserError as error:
        faults.append(Fault("file", "category", user_path(origin, ""), f"has no clear categories: {error}"))
        categories = Categories(None, [ONLY_CATEGORY])
    with ThreadPoolExecutor(DECODERS) as pool:
        converted = list(pool.map(lambda entry: _convert_image(entry, folder, origin, categories, params), annotated))
    images = [image for image, _ in converted if image is not None]
    emptied = [image for image in images if image.skipped_regions and not image.annotations]
    if params.emptied_images == "drop":
        images = [image for image in images if image.annotations or not image.skipped_regions]
    listed = {image.file_name for image in annotated}
    left_out = _missing_images(files, faults, origin) | {
        entry.file_name: image_faults
        for entry, (image, image_faults) in zip(annotated, converted, strict=True)
        if image_faults and (image is None or not image.annotations)
    }
    return DataSet(
        origin=origin,
        annotation_files=[user_path(origin, name) for name in files.images],
        other_files=other_files,
        categories=categories,
        values=count_values(regions),
        images=images,
        emptied=[image.file_name for image in emptied],
        left_out=left_out,
        unlisted=[name for name in image_names if name not in listed],
        filled=[image.file_name for image in annotated if image.has_empty_entry],
        faults=faults + [fault for _, image_faults in converted for fault in image_faults],
    )


def check_has_boxes(data_set: DataSet, params: ConvertParams) -> None:
    """Check that there is at least one box.

    Raises:
        UserError: there is none; says what was left out.
    """
    if any(image.annotations for image in data_set.images):
        return
    groups = group_faults(data_set.faults, params)
    left_out = ", ".join(f"{len(group.faults)} {group.reason}" for group in groups)
    count = len(data_set.images) + len(data_set.emptied) * (params.emptied_images == "drop")
    reason = "annotate some" if count else "add images in VIA, annotate them, and export or save again"
    if left_out:
        keys = ", ".join(sorted({group.param for group in groups if group.param}))
        reason = f"all regions were left out ({left_out}) by convert.{keys}; draw shapes with an area, or fix these"
    raise UserError(f"{', '.join(data_set.annotation_files)}: no boxes in {counted(count, 'image')}; {reason}")


def _merge_files(files: AnnotationFiles, index: FileIndex, origin: str) -> tuple[list[AnnotatedImage], list[Fault]]:
    """Merge annotation files; images are named as in the index."""
    faults = [
        Fault("file", DAMAGED_FILE, user_path(origin, name), str(error), places=error.places)
        for name, error in files.damaged.items()
    ]
    resolved: dict[str, list[ViaImage]] = {}
    for source, images in files.images.items():
        file = user_path(origin, source)
        resolved[file] = []
        for image in images:
            try:
                name = resolve_image(image.file_name, source, index, image.size)
            except UnusableError as error:
                faults.append(Fault("image", error.reason, file, str(error), error.param, (image.file_name,)))
            else:
                resolved[file].append(image._replace(file_name=name))
    merged, contradictions = merge_annotations(resolved)
    return merged, faults + contradictions


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
) -> tuple[ConvertedImage | None, list[Fault]]:
    """Decode an image for its size, and convert its regions; the faults are what can't be used."""
    path = folder / entry.file_name
    try:
        width, height = decode_image(path).size
        digest = sha256_of(path)
    except FileError as error:
        file = user_path(origin, entry.file_name)
        return None, [Fault("image", "unreadable image", file, error.reason, "bad_images")]
    annotations: dict[str, dict] = {}
    faults, clipped_regions = [], 0
    for number, region in enumerate(entry.regions):
        try:
            outline = outline_of(region, params.polyline)
            clipped = clip_outline(outline, width, height)
            annotation = {"category_id": category_of(region, categories)} | box_and_outline(clipped)
        except UnusableError as error:
            places = (entry.file_name, f"region {number}")
            faults.append(Fault("region", error.reason, entry.source, str(error), error.param, places))
        else:
            annotations.setdefault(str(annotation), annotation)  # equal regions once
            clipped_regions += clipped != outline
    image = ConvertedImage(
        {"file_name": entry.file_name, "width": width, "height": height},
        list(annotations.values()),
        skipped_regions=len(faults),
        clipped_regions=clipped_regions,
        duplicate_regions=len(entry.regions) - len(faults) - len(annotations),
        sha256=digest,
    )
    return image, faults
