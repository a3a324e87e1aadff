"""Turn VIA annotations into COCO detection annotations.

Reads   data/raw/{train,val}/: the images and one VIA JSON file in each
Writes  data/coco/{train,val}.json, metrics/dataset.json
Run     dvc repro convert
"""

from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import NamedTuple

from stages.detection.cli import StageError, run_stage
from stages.detection.decode import decode_image
from stages.detection.files import replaced_dir, write_json
from stages.detection.params import ConvertParams, read_recipe
from stages.detection.via import BadRegionError, category_of, clip_outline, outline_of, read_via

RAW_DIR = Path("data/raw")
COCO_DIR = Path("data/coco")
METRICS_PATH = Path("metrics/dataset.json")
SPLITS = ("train", "val")
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
SMALL_AREA, LARGE_AREA = 32**2, 96**2  # px², COCO's


class Converted(NamedTuple):
    """One image with its boxes, before ids are given."""

    image: dict  # COCO's, without id
    annotations: list[dict]  # COCO's, without ids
    skipped_regions: int
    clipped_regions: int


def find_annotations(folder: Path) -> Path:
    """Find the one VIA file of a split.

    Raises:
        StageError: there is none, or more than one.
    """
    paths = sorted(folder.glob("*.json"))
    if len(paths) != 1:
        names = ", ".join(path.name for path in paths) or "none"
        raise StageError(f"{folder}: expected exactly one VIA .json file, found {names}")
    return paths[0]


def convert_folder(folder: Path, params: ConvertParams) -> list[Converted]:
    """Convert one split; boxes are [x_min, y_min, width, height] in px of the upright original image.

    Raises:
        StageError: names file, image and region.
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
                    raise StageError(
                        f"{via_path}, {via_image.file_name}, region {number} {error}; "
                        "mend it in VIA, or set convert.bad_regions to skip"
                    ) from None
                skipped += 1
                continue
            clipped += inside != outline
            annotations.append({"category_id": category_id} | box_and_outline(inside))
        image = {"file_name": f"{folder.name}/{via_image.file_name}", "width": width, "height": height}
        converted.append(Converted(image, annotations, skipped, clipped))
    if not any(image.annotations for image in converted):
        raise StageError(f"{via_path}: no boxes at all in {len(converted)} images; annotate some")
    report_unlisted(folder, {Path(image.image["file_name"]).name for image in converted})
    return converted


def into_folds(images: list[Converted], folds: int, fold: int) -> dict[str, list[Converted]]:
    """Split images anew for cross-validation: each of them validates in just one of the folds.

    The order in which they are dealt comes from their names alone: no seed, no order of files changes it.

    Raises:
        StageError: there are fewer images than folds, or no boxes on one side.
    """
    if len(images) < folds:
        raise StageError(f"convert.folds is {folds}, but there are {len(images)} images")
    dealt = sorted(range(len(images)), key=lambda i: sha256(images[i].image["file_name"].encode()).digest())
    val = set(dealt[fold::folds])
    splits = {"train": [im for i, im in enumerate(images) if i not in val], "val": [images[i] for i in sorted(val)]}
    for name, mine in splits.items():
        if not any(image.annotations for image in mine):
            raise StageError(f"fold {fold} of {folds} has no boxes to {name}; set convert.folds lower")
    return splits


def to_coco(images: list[Converted], categories: list[str]) -> dict:
    """Make a COCO data set; file names are relative to the folder of both splits.

    Ids start at 1: COCOeval takes a match with ground-truth id 0 for no match.
    """
    entries, annotations = [], []
    for image_id, image in enumerate(images, start=1):
        entries.append({"id": image_id} | image.image)
        for annotation in image.annotations:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id} | annotation)
    names = [{"id": index, "name": name} for index, name in enumerate(categories, start=1)]
    return {"images": entries, "annotations": annotations, "categories": names}


def box_and_outline(outline: list[tuple[float, float]]) -> dict:
    """Describe an outline as COCO does: raw minima and maxima, nothing added for the width of a pixel."""
    xs, ys = zip(*outline, strict=True)
    width, height = max(xs) - min(xs), max(ys) - min(ys)
    # The box's area, not the polygon's: so small, medium and large mean what they mean in the field's reports.
    return {
        "bbox": [min(xs), min(ys), width, height],
        "area": width * height,
        "segmentation": [[value for point in outline for value in point]],
        "iscrowd": 0,
    }


def report_unlisted(folder: Path, listed: set[str]) -> None:
    """Say how many images of the folder the annotations don't list, as they are left out."""
    unlisted = [p.name for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name not in listed]
    if unlisted:
        print(
            f"{folder}: {len(unlisted)} images without an entry in the VIA file are left out, such as {min(unlisted)}"
        )


def count(images: list[Converted]) -> dict[str, float]:
    """Count what a split holds, by COCO's sizes."""
    areas = [annotation["area"] for image in images for annotation in image.annotations]
    return {
        "images": len(images),
        "images_without_boxes": sum(not image.annotations for image in images),
        "boxes": len(areas),
        "small": sum(area < SMALL_AREA for area in areas),
        "medium": sum(SMALL_AREA <= area < LARGE_AREA for area in areas),
        "large": sum(area >= LARGE_AREA for area in areas),
        "median_size_px": round(median(area**0.5 for area in areas), 1),
        "skipped_regions": sum(image.skipped_regions for image in images),
        "clipped_regions": sum(image.clipped_regions for image in images),
    }


def main() -> None:
    """Convert both splits, then write: an error in one leaves neither."""
    params = read_recipe().convert
    splits = {name: convert_folder(RAW_DIR / name, params) for name in SPLITS}
    if params.folds:
        splits = into_folds([image for images in splits.values() for image in images], params.folds, params.fold)
    with replaced_dir(COCO_DIR) as folder:
        for name, images in splits.items():
            write_json(folder / f"{name}.json", to_coco(images, params.categories))
    counts_of = {name: count(images) for name, images in splits.items()}
    write_json(METRICS_PATH, {f"{name}_{what}": n for name, counts in counts_of.items() for what, n in counts.items()})
    for name, counts in counts_of.items():
        print(
            f"{name}: {counts['images']} images, {counts['boxes']} boxes, {counts['skipped_regions']} regions skipped"
        )


if __name__ == "__main__":
    run_stage(main, __doc__)
