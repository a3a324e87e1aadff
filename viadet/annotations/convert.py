"""Converting a folder with annotation files and images to COCO annotations."""

import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from viadet.annotations.annotation_files import AnnotationFiles, read_annotation_files
from viadet.annotations.categories import (
    ONLY_CATEGORY,
    BadCategoryError,
    Categories,
    category_of,
    choose_categories,
    count_values,
)
from viadet.annotations.coco import ConvertedImage, box_and_outline
from viadet.annotations.data_files import is_image_file
from viadet.annotations.faults import Fault, group_faults
from viadet.annotations.image_names import FileIndex, ImageNameError, index_files, resolve_image
from viadet.annotations.merging import AnnotatedImage, Contradiction, merge_annotations
from viadet.annotations.shapes import clip_outline, outline_of
from viadet.annotations.via import BadRegionError, ViaImage
from viadet.images.decoding import decode_image
from viadet.project.counting import counted
from viadet.project.errors import UserError
from viadet.project.files import sha256_of
from viadet.project.params import ConvertParams

DAMAGED_FILE = "annotation file"  # the reason of faults
DECODERS = 4  # threads; a large photograph takes hundreds of megabytes in each
REGION_PARAMS = {"point": "points"}  # the key of `convert` that decides about a reason; the others: bad_regions


class DataSet(NamedTuple):
    """What a folder holds; all files are named as the user knows them, images relative to the folder."""

    origin: str  # the folder
    annotation_files: list[str]
    other_files: list[str]  # .json and .csv files that VIA did not write, each with what it is
    categories: Categories
    values: Counter[str]  # how often the attribute has which value
    images: list[ConvertedImage]  # sorted by file name
    emptied: list[str]  # images whose regions were all left out
    unlisted: list[str]  # images without an entry in any annotation file
    filled: list[str]  # images without regions in some annotation file, with regions in another
    faults: list[Fault]  # what was left out, or is an error


class ImageLook(NamedTuple):
    """What an image file itself tells."""

    width: int  # px, upright
    height: int
    sha256: str


def convert_data_set(folder: Path, origin: str, params: ConvertParams) -> DataSet:
    """Convert all annotated images below a folder; boxes are xywh in px of the upright image.

    What can't be used is not raised but returned, so that all of it can be told at once.

    Args:
        folder: holds images and annotation files in any depth.
        origin: the folder as the user knows it, which stands for `folder` in all messages.
        params: what to convert and what to leave out.

    Raises:
        UserError: there are no annotation files.
    """
    try:
        index = index_files(folder)
        files = read_annotation_files(index.paths)
        if not files.images:
            raise UserError(_describe_contents(index, files))
    except UserError as error:
        raise UserError(as_user_knows(str(error), folder, origin)) from None
    annotated, faults = _merge_files(files, index)
    categories, values = _find_categories(annotated, origin, params, faults)
    images, emptied = [], []
    for entry, look in zip(annotated, _look_at_images(annotated, folder), strict=True):
        image = _convert_image(entry, look, categories, params, faults)
        is_emptied = image is not None and bool(entry.regions) and not image.annotations
        emptied += [entry.file_name] * is_emptied
        images += [] if image is None or (is_emptied and params.emptied_images == "drop") else [image]
    return DataSet(
        origin=origin,
        annotation_files=[as_user_knows(str(path), folder, origin) for path in files.images],
        other_files=[as_user_knows(f"{path} ({kind})", folder, origin) for path, kind in files.others.items()],
        categories=categories,
        values=values,
        images=images,
        emptied=emptied,
        unlisted=_unlisted_images(index, {image.file_name for image in annotated}),
        filled=[image.file_name for image in annotated if image.empty_in],
        faults=[Fault(*(text and as_user_knows(text, folder, origin) for text in fault)) for fault in faults],
    )


def as_user_knows(text: str, folder: PurePath, origin: str, separator: str = os.sep) -> str:
    """Name files below a folder as the user knows them, and with `/` on every system, as reports are compared.

    Args:
        text: a message, or a path.
        folder: where the files are.
        origin: the folder as the user knows it.
        separator: of the system's paths.
    """
    path = re.escape(str(folder)) + r"[^,:()]*"
    return re.sub(path, lambda match: match[0].replace(str(folder), origin).replace(separator, "/"), text)


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


def convert_region(
    region: Any, width: int, height: int, categories: Categories, params: ConvertParams
) -> tuple[dict, bool]:
    """Convert one region of an image of `width` x `height` px.

    Returns:
        A COCO annotation without ids, and whether the outline was clipped at the image's edge.

    Raises:
        BadRegionError: the region gives no box.
    """
    outline = outline_of(region, polyline=params.polyline)
    clipped = clip_outline(outline, width, height)
    return {"category_id": category_of(region, categories)} | box_and_outline(clipped), clipped != outline


def _merge_files(files: AnnotationFiles, index: FileIndex) -> tuple[list[AnnotatedImage], list[Fault]]:
    """Merge annotation files; images are named relative to the indexed folder."""
    faults = []
    for path, text in files.damaged.items():
        place, _, problem = text.removeprefix(str(path)).partition(" ")  # "," or ":" before a place in the file
        faults.append(Fault("file", DAMAGED_FILE, f"{path}{place}", problem, None))
    resolved: dict[Path, list[ViaImage]] = {path: [] for path in files.images}
    for path, image in ((path, image) for path, images in files.images.items() for image in images):
        try:
            image_path = resolve_image(image.file_name, path.parent, index, image.size)
        except ImageNameError as error:
            faults.append(Fault("image", error.reason, f"{path}, {image.file_name}", str(error), "bad_images"))
        else:
            resolved[path].append(image._replace(file_name=image_path.relative_to(index.folder).as_posix()))
    images, contradictions = merge_annotations(resolved)
    return images, faults + [_fault_of(contradiction) for contradiction in contradictions]


def _fault_of(contradiction: Contradiction) -> Fault:
    source, file_name, region, other = contradiction
    other_entry = f"another entry of the image in {'the same file' if other == source else other}"
    text = f"is missing in {other_entry}; remove the image from one of them"
    return Fault("image", "contradicting entries", f"{source}, {file_name}, region {region}", text, None)


def _find_categories(
    images: list[AnnotatedImage], origin: str, params: ConvertParams, faults: list[Fault]
) -> tuple[Categories, Counter[str]]:
    """Choose the categories, adding to `faults` if they are not clear; and count the attribute's values."""
    regions = [region for image in images for region in image.regions]
    values = count_values(regions)
    try:
        categories = choose_categories(values, len(regions), params)
    except UserError as error:
        faults.append(Fault("file", "category", origin, f"has no clear categories: {error}", None))
        categories = Categories(None, [ONLY_CATEGORY])
    return categories, values.get(categories.attribute, Counter())


def _look_at_images(images: list[AnnotatedImage], folder: Path) -> list[ImageLook | Fault]:
    """Decode images below a folder for their sizes; a fault for each one that can't be read."""

    def look(image: AnnotatedImage) -> ImageLook | Fault:
        path = folder / image.file_name
        try:
            return ImageLook(*decode_image(path).size, sha256_of(path))
        except UserError as error:
            return Fault("image", "unreadable image", str(path), str(error).removeprefix(f"{path} "), "bad_images")

    with ThreadPoolExecutor(DECODERS) as pool:
        return list(pool.map(look, images))


def _convert_image(
    entry: AnnotatedImage, look: ImageLook | Fault, categories: Categories, params: ConvertParams, faults: list[Fault]
) -> ConvertedImage | None:
    """Convert the regions of one image, adding to `faults`; None if the image can't be read."""
    if isinstance(look, Fault):
        faults.append(look)
        return None
    width, height, digest = look
    annotations: dict[str, dict] = {}
    skipped, clipped = 0, 0
    for number, region in enumerate(entry.regions):
        try:
            annotation, is_clipped = convert_region(region, width, height, categories, params)
        except BadRegionError as error:
            is_category = isinstance(error, BadCategoryError)
            param = "other_categories" if is_category else REGION_PARAMS.get(error.reason, "bad_regions")
            place = f"{entry.source}, {entry.file_name}, region {number}"
            faults.append(Fault("region", error.reason, place, str(error), param))
            skipped += 1
        else:
            annotations.setdefault(str(annotation), annotation)  # equal regions once
            clipped += is_clipped
    image = {"file_name": entry.file_name, "width": width, "height": height}
    duplicates = len(entry.regions) - skipped - len(annotations)
    return ConvertedImage(image, list(annotations.values()), skipped, clipped, duplicates, digest)


def _unlisted_images(index: FileIndex, listed: set[str]) -> list[str]:
    images = [path for path in index.paths if is_image_file(path)]
    return [name for path in images if (name := path.relative_to(index.folder).as_posix()) not in listed]


def _describe_contents(index: FileIndex, files: AnnotationFiles) -> str:
    """Say what is in a folder without annotation files."""
    others = [f"{path} ({kind})" for path, kind in files.others.items()]
    images = counted(len(_unlisted_images(index, set())), "image")
    contents = f"{images} and {', '.join(others[:5])}" if others else f"{images} and no .json or .csv file"
    return (
        f"{index.folder} has no annotations of VIA: found {contents}; "
        "export them from VIA as JSON or CSV into this folder"
    )
