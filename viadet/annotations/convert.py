"""Converting a folder with annotation files and images to COCO annotations."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath
from typing import NamedTuple

from viadet.annotations.categories import (
    ONLY_CATEGORY,
    BadCategoryError,
    Categories,
    category_of,
    choose_categories,
    count_values,
)
from viadet.annotations.coco import ConvertedImage, box_and_outline
from viadet.annotations.faults import Fault, group_faults, user_path
from viadet.annotations.image_names import FileIndex, ImageNameError, index_files, resolve_image
from viadet.annotations.merging import AnnotatedImage, merge_annotations
from viadet.images.decoding import decode_image
from viadet.project.counting import counted
from viadet.project.errors import FileError, UserError
from viadet.project.files import sha256_of
from viadet.project.params import ConvertParams
from viadet.via.annotation_files import AnnotationFiles, read_annotation_files
from viadet.via.data_files import is_image_file
from viadet.via.images import BadRegionError, ViaImage
from viadet.via.shapes import clip_outline, outline_of

DAMAGED_FILE = "annotation file"  # the reason of faults
DECODERS = 4  # threads; a large photograph takes hundreds of megabytes in each
REGION_PARAMS = {"point": "points"}  # the key of `convert` that decides about a reason; the others: bad_regions


class DataSet(NamedTuple):
    """What a folder holds; files are named relative to it, with `/` on every system."""

    origin: str  # the folder, as the user knows it
    annotation_files: list[str]
    other_files: dict[str, str]  # what a .json or .csv file is that VIA did not write
    categories: Categories
    values: Counter[str]  # how often the attribute has which value
    images: list[ConvertedImage]  # sorted by file name
    emptied: list[str]  # images whose regions were all left out
    unlisted: list[str]  # images without an entry in any annotation file
    filled: list[str]  # images without regions in some annotation file, with regions in another
    faults: list[Fault]  # what was left out, or is an error


def convert_data_set(folder: Path, origin: str, params: ConvertParams) -> DataSet:
    """Convert all annotated images below a folder; boxes are xywh in px of the upright image.

    What can't be used is not raised but returned, so that all of it can be told at once.

    Args:
        folder: holds images and annotation files in any depth.
        origin: the folder as the user knows it, which stands for `folder` in all messages.
        params: what to convert and what to leave out.

    Raises:
        UserError: there are no annotation files, or a folder can't be read.
    """
    index = _index(folder, origin)
    files = read_annotation_files(folder, index.names)
    if not files.images:
        raise UserError(_describe_contents(index, files, origin))
    annotated, faults = _merge_files(files, index)
    categories, values = _find_categories(annotated, params, faults)
    images, image_faults = _convert_images(annotated, folder, categories, params)
    emptied = [image for image in images if image.skipped_regions and not image.annotations]
    if params.emptied_images == "drop":
        images = [image for image in images if image.annotations or not image.skipped_regions]
    return DataSet(
        origin=origin,
        annotation_files=list(files.images),
        other_files=files.others,
        categories=categories,
        values=values,
        images=images,
        emptied=[image.file_name for image in emptied],
        unlisted=_unlisted_images(index, {image.file_name for image in annotated}),
        filled=[image.file_name for image in annotated if image.empty_in],
        faults=faults + image_faults,
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
    files = ", ".join(user_path(data_set.origin, name) for name in data_set.annotation_files)
    raise UserError(f"{files}: no boxes in {counted(count, 'image')}; {reason}")


def _index(folder: Path, origin: str) -> FileIndex:
    try:
        return index_files(folder)
    except FileError as error:
        place = user_path(origin, error.path.relative_to(folder).as_posix())
        raise UserError(f"{place} {error.reason}") from None


def _merge_files(files: AnnotationFiles, index: FileIndex) -> tuple[list[AnnotatedImage], list[Fault]]:
    """Merge annotation files; images are named as in the index."""
    faults = [
        Fault("file", DAMAGED_FILE, str(error), file=name, places=error.places) for name, error in files.damaged.items()
    ]
    resolved: dict[str, list[ViaImage]] = {name: [] for name in files.images}
    for source, images in files.images.items():
        for image in images:
            try:
                name = resolve_image(image.file_name, source, index, image.size)
            except ImageNameError as error:
                fault = Fault("image", error.reason, str(error), "bad_images", source, image=image.file_name)
                faults.append(fault)
            else:
                resolved[source].append(image._replace(file_name=name))
    merged, contradictions = merge_annotations(resolved)
    return merged, faults + contradictions


def _find_categories(
    images: list[AnnotatedImage], params: ConvertParams, faults: list[Fault]
) -> tuple[Categories, Counter[str]]:
    """Choose the categories, adding to `faults` if they are not clear; and count the attribute's values."""
    regions = [region for image in images for region in image.regions]
    values = count_values(regions)
    try:
        categories = choose_categories(values, len(regions), params)
    except UserError as error:
        faults.append(Fault("file", "category", f"has no clear categories: {error}"))
        categories = Categories(None, [ONLY_CATEGORY])
    return categories, values.get(categories.attribute, Counter())


def _convert_images(
    entries: list[AnnotatedImage], folder: Path, categories: Categories, params: ConvertParams
) -> tuple[list[ConvertedImage], list[Fault]]:
    """Convert the images below a folder that can be read; the faults are what can't be used of them."""
    with ThreadPoolExecutor(DECODERS) as pool:
        converted = list(pool.map(lambda entry: _convert_image(entry, folder, categories, params), entries))
    images = [image for image, _ in converted if image is not None]
    return images, [fault for _, faults in converted for fault in faults]


def _convert_image(
    entry: AnnotatedImage, folder: Path, categories: Categories, params: ConvertParams
) -> tuple[ConvertedImage | None, list[Fault]]:
    """Decode an image for its size, and convert its regions; the faults are what can't be used."""
    path = folder / entry.file_name
    try:
        width, height = decode_image(path).size
        digest = sha256_of(path)
    except FileError as error:
        return None, [Fault("image", "unreadable image", error.reason, "bad_images", entry.file_name)]
    annotations: dict[str, dict] = {}
    faults, clipped_regions = [], 0
    for number, region in enumerate(entry.regions):
        try:
            outline = outline_of(region, params.polyline)
            clipped = clip_outline(outline, width, height)
            annotation = {"category_id": category_of(region, categories)} | box_and_outline(clipped)
        except BadRegionError as error:
            is_category = isinstance(error, BadCategoryError)
            param = "other_categories" if is_category else REGION_PARAMS.get(error.reason, "bad_regions")
            fault = Fault("region", error.reason, str(error), param, entry.source, image=entry.file_name, region=number)
            faults.append(fault)
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


def _unlisted_images(index: FileIndex, listed: set[str]) -> list[str]:
    return [name for name in index.names if is_image_file(PurePath(name)) and name not in listed]


def _describe_contents(index: FileIndex, files: AnnotationFiles, origin: str) -> str:
    """Say what is in a folder without annotation files."""
    others = [f"{user_path(origin, name)} ({kind})" for name, kind in files.others.items()]
    images = counted(len(_unlisted_images(index, set())), "image")
    contents = f"{images} and {', '.join(others[:5])}" if others else f"{images} and no .json or .csv file"
    return f"{origin} has no annotations of VIA: found {contents}; export them from VIA as JSON or CSV into this folder"
