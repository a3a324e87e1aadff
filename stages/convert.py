"""Turn VIA annotations into COCO detection annotations.

Reads   data/raw/{train,val}/: the images and one VIA JSON file in each
Writes  data/coco/{train,val}.json, metrics/dataset.json
Run     dvc repro convert
"""

from pathlib import Path

from viadet.annotations.coco import to_coco
from viadet.annotations.convert import convert_folder
from viadet.annotations.counts import count_boxes
from viadet.annotations.folds import split_by_fold
from viadet.project.errors import run_stage
from viadet.project.files import replaced_dir, write_json
from viadet.project.params import read_recipe

RAW_DIR = Path("data/raw")
COCO_DIR = Path("data/coco")
METRICS_PATH = Path("metrics/dataset.json")
SPLITS = ("train", "val")


def main() -> None:
    """Convert both splits, then write: an error in either writes nothing."""
    params = read_recipe().convert
    splits = {name: convert_folder(RAW_DIR / name, params) for name in SPLITS}
    if params.folds:
        splits = split_by_fold([*splits["train"], *splits["val"]], params.folds, params.fold)
    counts = {name: count_boxes(images) for name, images in splits.items()}
    with replaced_dir(COCO_DIR) as folder:
        for name, images in splits.items():
            write_json(folder / f"{name}.json", to_coco(images, params.categories))
    write_json(METRICS_PATH, {f"{name}_{key}": counts[name][key] for name in SPLITS for key in counts[name]})
    for name, count in counts.items():
        print(f"{name}: {count['images']} images, {count['boxes']} boxes, {count['skipped_regions']} regions skipped")


if __name__ == "__main__":
    run_stage(main, __doc__)
