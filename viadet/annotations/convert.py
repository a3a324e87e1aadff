"""From a VIA file and its images to boxes with their outlines."""

from pathlib import Path

from viadet.annotations.coco import ConvertedImage, box_and_outline
from viadet.annotations.shapes import BadRegionError, category_of, clip_outline, outline_of
from viadet.annotations.via import read_via
from viadet.images.decoding import decode_image
from viadet.project.errors import UserError
from viadet.project.params import ConvertParams

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}


def find_annotations(folder: Path) -> Path:
    """Find the one VIA file of a split.

    Raises:
        UserError: there is none, or more than one.
    """
    paths = sorted(folder.glob("*.json"))
    if len(paths) != 1:
        names = ", ".join(path.name for path in paths) or "none"
        raise UserError(f"{folder}: expected exactly one VIA .json file, found {names}")
    return paths[0]


def convert_folder(folder: Path, params: ConvertParams) -> list[ConvertedImage]:
    """Convert one split; boxes are [x_min, y_min, width, height] in px of the upright original image.

    Raises:
        UserError: names file, image and region.
    """
    via_path = find_annotations(folder)
    converted = []
    for via_image in read_via(via_path):
        width, height = decode_image(folder / via_image.file_name).size
        annotations, skipped, clipped = [], 0, 0
        for number, region in enumerate(via_image.regions):
            try:
                outline = outline_of(region)
                inside = clip_outline(outline, width, height)
                category_id = category_of(region, params.attribute, params.categories)
            except BadRegionError as error:
                if params.bad_regions == "error":
                    raise UserError(
                        f"{via_path}, {via_image.file_name}, region {number} {error}; "
                        "fix it in VIA, or set convert.bad_regions to skip"
                    ) from None
                skipped += 1
                continue
            clipped += inside != outline
            annotations.append({"category_id": category_id} | box_and_outline(inside))
        image = {"file_name": f"{folder.name}/{via_image.file_name}", "width": width, "height": height}
        converted.append(ConvertedImage(image, annotations, skipped, clipped))
    if not any(image.annotations for image in converted):
        raise UserError(f"{via_path}: no boxes at all in {len(converted)} images; annotate some")
    report_unlisted(folder, {Path(image.image["file_name"]).name for image in converted})
    return converted


def report_unlisted(folder: Path, listed: set[str]) -> None:
    """Say how many images of the folder the annotations don't list, as they are left out."""
    unlisted = [p.name for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name not in listed]
    if unlisted:
        print(
            f"{folder}: {len(unlisted)} images without an entry in the VIA file are left out, such as {min(unlisted)}"
        )
