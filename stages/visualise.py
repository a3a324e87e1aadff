"""Show the training set: as annotated, as the network sees it, and its boxes against the anchors.

Warns of objects that the network's sizes, the augmentation and evaluate.max_detections leave out, and of starting
weights that were made for other anchors.

Reads   data/coco/{train,val}.json (and test.json, for the warnings), data/raw/ (the training images),
        data/init/start.json
Writes  plots/visualise/images/{training_set,augmented,box_shapes}.png, plots/visualise/{box_sizes.csv,warnings.json}
Run     dvc repro visualise
"""

from itertools import islice
from pathlib import Path

from viadet.annotations.coco import category_names
from viadet.augmentation.objects import IGNORED, Sample
from viadet.augmentation.scenes import Scenes
from viadet.augmentation.training_set import TrainingSet
from viadet.network.build import build_network, make_spec
from viadet.network.device import pick_device
from viadet.network.weights import START_NAME, start_normalisation
from viadet.pictures.box_sizes import anchor_sizes_wh, box_sizes_wh, draw_box_sizes, size_rows
from viadet.pictures.box_warnings import crowded_images, ignored_boxes, other_anchors, unfitting_boxes
from viadet.pictures.drawing import save_figure
from viadet.pictures.training_set import COLUMNS, ROWS, draw_augmented, draw_training_set
from viadet.project.counting import counted
from viadet.project.errors import run_stage
from viadet.project.files import read_json, replaced_dir, write_csv, write_json
from viadet.project.params import Recipe, read_recipe

COCO_PATHS = {split: Path(f"data/coco/{split}.json") for split in ("train", "val")}
TEST_PATH = Path("data/coco/test.json")
IMAGE_DIR = Path("data/raw")
INIT_DIR = Path("data/init")
PICTURES_DIR = Path("plots/visualise/images")
SIZES_PATH = Path("plots/visualise/box_sizes.csv")
WARNINGS_PATH = Path("plots/visualise/warnings.json")
DRAWN_IMAGES = COLUMNS * ROWS  # the first of the training set
DRAWN_SIDE_PX = 800  # larger photographs are reduced


def find_warnings(cocos: list[dict], recipe: Recipe) -> list[str]:
    """Warn of images with too many objects, boxes without a fitting anchor, starting weights for other anchors."""
    lines = crowded_images(cocos, recipe.evaluate.max_detections) + unfitting_boxes(cocos, recipe.model)
    return lines + other_anchors(read_json(INIT_DIR / START_NAME), recipe.model)


def describe_samples(samples: list[Sample]) -> str:
    """Count what the drawn samples hold to be learnt."""
    counts = [int((sample.labels != IGNORED).sum()) for sample in samples]
    ignored = sum(len(sample.labels) for sample in samples) - sum(counts)
    return (
        f"the {len(samples)} augmented samples drawn have {min(counts)} to {max(counts)} objects to learn, "
        f"{sum(counts)} in all, and {ignored} to ignore (hidden, cut off or tiny)"
    )


def main() -> None:
    """Draw the first training images and their augmented samples; compare box sizes of both splits with the anchors."""
    recipe = read_recipe()
    pick_device("cpu", threads=recipe.train.threads)  # whose samples are those of training, to the byte
    cocos = {split: read_json(path) for split, path in COCO_PATHS.items()}
    names = category_names(cocos["train"])
    spec = make_spec(recipe.model, list(names.values()), start_normalisation(INIT_DIR))
    training_set = TrainingSet(COCO_PATHS["train"], IMAGE_DIR, recipe.train, spec.input_wh, spec.fill_rgb, owner=None)
    samples = [training_set[0, index] for index in range(min(DRAWN_IMAGES, len(training_set)))]
    anchors_wh = anchor_sizes_wh(build_network(spec))
    boxes_wh = {split: box_sizes_wh(coco, spec.input_wh) for split, coco in cocos.items()}
    with replaced_dir(PICTURES_DIR) as folder:
        scenes = list(islice(Scenes(COCO_PATHS["train"], IMAGE_DIR, DRAWN_SIDE_PX), DRAWN_IMAGES))
        save_figure(draw_training_set(scenes, names), folder / "training_set.png")
        save_figure(draw_augmented(samples, names), folder / "augmented.png")
        save_figure(draw_box_sizes(boxes_wh["train"], anchors_wh, spec.input_wh), folder / "box_shapes.png")
    write_csv(SIZES_PATH, size_rows(boxes_wh), ["size", *boxes_wh])
    test_cocos = [read_json(TEST_PATH)] if TEST_PATH.exists() else []
    warnings = find_warnings([*cocos.values(), *test_cocos], recipe)
    warnings += ignored_boxes(cocos["train"], training_set.params, training_set.input_wh_by_epoch())
    write_json(WARNINGS_PATH, warnings)
    boxes, cut_outs = len(boxes_wh["train"]), len(training_set.cut_outs)
    print(
        f"{counted(len(training_set), 'image')}, {counted(boxes, 'box', 'boxes')}, "
        f"{counted(cut_outs, 'object')} to paste"
    )
    print(describe_samples(samples))
    for line in warnings:
        print(f"warning: {line}")


if __name__ == "__main__":
    run_stage(main, __doc__)
