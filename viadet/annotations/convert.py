"""Converting a folder with a VIA file and its images to COCO annotations."""

from pathlib import Path
from typing import Any

from viadet.annotations.categories import category_of
from viadet.annotations.coco import ConvertedImage, box_and_outline
from viadet.annotations.shapes import clip_outline, outline_of
from viadet.annotations.via import BadRegionError, ViaImage, read_via
from viadet.images.decoding import decode_image
from viadet.project.errors import UserError
from viadet.project.params import ConvertParams

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}


def convert_folder(folder: Path, params: ConvertParams) -> list[ConvertedImage]:
    """Convert one split; boxes are xywh in px of the upright image.

    Prints how many images of the folder have no entry in the VIA file: these are left out.

    Raises:
        UserError: names file, image and region.
    """
    via_path = find_via_file(folder)
    images = [convert_image(image, via_path, params) for image in read_via(via_path)]
    if not any(image.annotations for image in images):
        raise UserError(f"{via_path}: no boxes in any of {len(images)} images; annotate some")
    report_unlisted(folder, {Path(image.image["file_name"]).name for image in images})
    return images


def find_via_file(folder: Path) -> Path:
    """Find the VIA file of a split.

    Raises:
        UserError: there is none, or more than one.
    """
    paths = sorted(folder.glob("*.json"))
    if len(paths) != 1:
        names = ", ".join(path.name for path in paths) or "none"
        raise UserError(f"{folder}: expected exactly one VIA .json file, found {names}")
    return paths[0]


def convert_image(via_image: ViaImage, via_path: Path, params: ConvertParams) -> ConvertedImage:
    """Convert the regions of one image, which lies beside the VIA file.

    Raises:
        UserError: the image can't be read, or a region gives no box and `bad_regions` is "error".
    """
    folder = via_path.parent
    width, height = decode_image(folder / via_image.file_name).size
    annotations, skipped, clipped = [], 0, 0
    for number, region in enumerate(via_image.regions):
        try:
            annotation, is_clipped = convert_region(region, width, height, params)
        except BadRegionError as error:
            if params.bad_regions == "error":
                raise UserError(
                    f"{via_path}, {via_image.file_name}, region {number} {error}; "
                    "fix it in VIA, or set convert.bad_regions to skip"
                ) from None
            skipped += 1
        else:
            annotations.append(annotation)
            clipped += is_clipped
    image = {"file_name": f"{folder.name}/{via_image.file_name}", "width": width, "height": height}
    return ConvertedImage(image, annotations, skipped, clipped)


def convert_region(region: Any, width: int, height: int, params: ConvertParams) -> tuple[dict, bool]:
    """Convert one region of an image of `width` x `height` px.

    Returns:
        A COCO annotation without ids, and whether points outside of the image were moved to its edge.

    Raises:
        BadRegionError: the region gives no box.
    """
    outline = outline_of(region)
    clipped = clip_outline(outline, width, height)
    category_id = category_of(region, params.attribute, params.categories)
    return {"category_id": category_id} | box_and_outline(clipped), clipped != outline


def report_unlisted(folder: Path, listed: set[str]) -> None:
    """Print how many images of the folder have no entry in its VIA file."""
    unlisted = [p.name for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name not in listed]
    if unlisted:
        print(f"{folder}: left out {len(unlisted)} images without an entry in the VIA file, such as {min(unlisted)}")
