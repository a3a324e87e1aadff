"""Turn VIA annotations into COCO detection annotations, and report what the data set holds and what was left out.

Reads   data/raw/: images and annotation files in any depth
Writes  data/coco/{train,val}.json, data/coco/test.json if there is a test split, metrics/dataset.json,
        metrics/dataset_report.json (details; also written if the data set has faults)
Run     dvc repro convert
"""

from pathlib import Path

from viadet.annotations.coco import to_coco
from viadet.annotations.convert import check_has_boxes, convert_data_set
from viadet.annotations.data_warnings import small_objects
from viadet.annotations.faults import raise_faults
from viadet.annotations.report import Report
from viadet.annotations.splits import check_shared_categories, split_by_fold, split_data_set
from viadet.project.counting import counted, first_names
from viadet.project.errors import run_stage
from viadet.project.files import replaced_dir, write_json
from viadet.project.params import read_recipe, read_recipe_name

RAW_DIR = Path("data/raw")
COCO_DIR = Path("data/coco")
METRICS_PATH = Path("metrics/dataset.json")
REPORT_PATH = Path("metrics/dataset_report.json")


def main() -> None:
    """Convert, split and report, then write: an error writes nothing but the report of what is wrong."""
    recipe = read_recipe()
    params = recipe.convert
    data_set = convert_data_set(RAW_DIR, recipe.fetch.origin, params)
    count, files = counted(data_set.annotated, "image"), first_names(data_set.annotation_files)
    print(f"recipe {read_recipe_name()}: {count} of {data_set.origin}, annotated in {files}")
    report = Report(data_set, {}, params)  # no splits yet: what is wrong comes first
    if any(group.is_error for group in report.groups) or not data_set.has_boxes:
        write_json(REPORT_PATH, report.details())
        for line in report.lines():
            print(line)
        check_has_boxes(data_set, params)
        raise_faults(report.groups, data_set.origin)
    splits, how = split_data_set(data_set.images, data_set.unlisted, data_set.left_out, params.split, data_set.origin)
    if params.folds:
        splits = split_by_fold(splits, params.folds, params.fold, params.folds_of)
        how += f", fold {params.fold} of {params.folds} of convert.folds_of {params.folds_of}"
    check_shared_categories(splits, data_set.categories.names, data_set.origin)

    report = Report(data_set, splits, params)
    cocos = {name: to_coco(images, data_set.categories.names) for name, images in splits.items()}
    report.warnings += small_objects(cocos["train"], recipe.model)
    with replaced_dir(COCO_DIR) as folder:
        for name, coco in cocos.items():
            write_json(folder / f"{name}.json", coco)
    write_json(METRICS_PATH, report.metrics())
    write_json(REPORT_PATH, report.details())
    print("\n".join([f"split {how}", *report.lines()]))


if __name__ == "__main__":
    run_stage(main, __doc__)
