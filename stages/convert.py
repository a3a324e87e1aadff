"""Turn VIA annotations into COCO detection annotations.

Reads   data/raw/{train,val}/: the images and one VIA JSON file in each
Writes  data/coco/{train,val}.json, metrics/dataset.json
Run     dvc repro convert
"""

from pathlib import Path

from viadet.annotations.coco import to_coco
from viadet.annotations.convert import convert_folder
from viadet.annotations.counts import count_boxes
from viadet.annotations.folds import into_folds
from viadet.project.errors import run_stage
from viadet.project.files import replaced_dir, write_json
from viadet.project.params import read_recipe

RAW_DIR = Path("data/raw")
COCO_DIR = Path("data/coco")
METRICS_PATH = Path("metrics/dataset.json")
SPLITS = ("train", "val")


def main() -> None:
    """Convert both splits, then write: an error in one leaves neither."""
    params = read_recipe().convert
    splits = {name: convert_folder(RAW_DIR / name, params) for name in SPLITS}
    if params.folds:
        splits = into_folds([image for images in splits.values() for image in images], params.folds, params.fold)
    with replaced_dir(COCO_DIR) as folder:
        for name, images in splits.items():
            write_json(folder / f"{name}.json", to_coco(images, params.categories))
    counts_of = {name: count_boxes(images) for name, images in splits.items()}
    write_json(METRICS_PATH, {f"{name}_{what}": n for name, counts in counts_of.items() for what, n in counts.items()})
    for name, counts in counts_of.items():
        print(
            f"{name}: {counts['images']} images, {counts['boxes']} boxes, {counts['skipped_regions']} regions skipped"
        )


if __name__ == "__main__":
    run_stage(main, __doc__)
