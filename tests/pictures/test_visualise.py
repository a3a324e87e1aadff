"""The stage, box sizes against anchor sizes, and warnings of what the network's settings leave out."""

import csv
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from projects import SMALL, read, spec_of, write_params

from stages import visualise
from viadet.augmentation.randomness import uniform
from viadet.network.build import build_network
from viadet.pictures.box_sizes import (
    anchor_sizes_wh,
    box_sizes_wh,
    crowded_images,
    ignored_boxes,
    ignored_shares,
    size_rows,
    small_boxes,
)
from viadet.project.files import write_json
from viadet.project.params import read_recipe

PICTURES = ["augmented.png", "box_shapes.png", "training_set.png"]
pytestmark = pytest.mark.xdist_group("visualise")  # its tests share the fixture below


@pytest.fixture(scope="module")
def visualised(finished_sample, tmp_path_factory):
    """A project with the stage's outputs; nobody changes it."""
    folder = tmp_path_factory.mktemp("visualised")
    shutil.copytree(finished_sample / "data", folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params(SMALL)
        visualise.main()
    return folder


def pictures(folder=Path()):
    return {path.name: path.read_bytes() for path in sorted((folder / "plots/visualise/images").iterdir())}


def test_three_pictures_are_drawn_with_boxes_on_photographs_and_samples(visualised):
    assert list(pictures(visualised)) == PICTURES
    for name in ("augmented.png", "training_set.png"):
        with Image.open(visualised / "plots/visualise/images" / name) as picture:
            colours = picture.convert("RGB").getcolors(2**24)
        assert any(colour == (0, 255, 0) for _, colour in colours), f"no box is drawn in {name}"


def test_box_sizes_of_both_splits_are_shares_in_px_of_the_networks_input(visualised):
    with (visualised / "plots/visualise/box_sizes.csv").open(encoding="utf-8") as file:
        rows = {float(row["size"]): row for row in csv.DictReader(file)}
    for split in ("train", "val"):
        coco = read(visualised / f"data/coco/{split}.json")
        assert {max(image["width"], image["height"]) for image in coco["images"]} == {128}  # as is the input
        areas = [annotation["bbox"][2] * annotation["bbox"][3] for annotation in coco["annotations"]]
        for size in (16, 48, 96):
            share = sum(area <= size**2 for area in areas) / len(areas)
            assert float(rows[size][split]) == pytest.approx(share, abs=1e-5)
        assert float(rows[0][split]) == 0
        assert float(rows[640][split]) == 1


def test_only_the_picture_of_samples_depends_on_the_augmentation_and_all_come_again_to_the_byte(visualised, sample):
    write_params(SMALL | {"train.augment.copy_paste": 0})
    assert read_recipe().train.augment.copy_paste == 0
    visualise.main()
    before, after = pictures(visualised), pictures()
    assert [name for name in PICTURES if before[name] != after[name]] == ["augmented.png"]
    write_params(SMALL)
    visualise.main()
    assert pictures() == before


def test_boxes_are_scaled_to_the_networks_input():
    coco = {
        "images": [{"id": 1, "width": 200, "height": 100}],
        "annotations": [{"image_id": 1, "bbox": [0, 0, 50, 20]}],
    }
    # 200 px become 128: scale 0.64
    assert box_sizes_wh(coco, (128, 128)).tolist() == [[32.0, 12.8]]
    assert box_sizes_wh({"images": [], "annotations": []}, (128, 128)).shape == (0, 2)


def test_a_split_without_boxes_has_shares_of_0():
    rows = size_rows({"train": np.array([[4.0, 16.0], [64.0, 64.0]]), "val": np.zeros((0, 2))})
    assert [row["train"] for row in rows[:6]] == [0, 0.5, 0.5, 0.5, 1, 1]  # sizes 8 and 64 of 0, 16, 32, 48, 64, 80
    assert {row["val"] for row in rows} == {0.0}


def test_each_level_has_nine_anchor_sizes_twice_those_of_the_level_below():
    anchors_wh = anchor_sizes_wh(build_network(spec_of(256)))
    assert list(anchors_wh) == ["P3", "P4", "P5", "P6", "P7"]
    areas = [np.sort(np.sqrt(sizes_wh.prod(axis=1))) for sizes_wh in anchors_wh.values()]
    assert areas[0][0] == pytest.approx(32, rel=0.02)  # anchor_scale 4, stride 8; effdet rounds the aspect ratios
    for below, above in pairwise(areas):
        assert len(above) == len(below) == 9
        np.testing.assert_allclose(above, 2 * below, rtol=0.02)


def crowd(name: str, count: int) -> dict:
    return {"images": [{"id": 1, "file_name": name}], "annotations": [{"image_id": 1}] * count}


def test_images_with_more_objects_than_detections_are_named():
    cocos = [crowd("a", 133), crowd("b", 100)]
    assert crowded_images(cocos, 100) == [
        "1 image with more objects than evaluate.max_detections (100), up to 133: a; set it to 200 or more"
    ]
    assert crowded_images(cocos, 133) == []
    [line] = crowded_images([crowd(name, count) for name, count in zip("abcde", (5, 7, 6, 8, 3), strict=True)], 4)
    assert line.startswith("4 images with") and "up to 8: d, b, c and 1 more;" in line


def test_small_boxes_are_counted_with_the_sizes_that_would_fit():
    boxes_wh = np.array([(16, 16), (32, 8), (16, 16), (50, 50)])
    assert small_boxes(boxes_wh, (320, 320), 4.0) == [
        "3 of 4 boxes are smaller than the smallest anchor, which has 32 px in the input of 320 x 320 px "
        "(95% have at least 16.0 px); model.image_size 640 or model.anchor_scale 2.0 would fit 95%"
    ]
    assert small_boxes(2 * boxes_wh, (640, 640), 4.0) == []
    assert small_boxes(boxes_wh, (320, 320), 2.0) == []
    assert small_boxes(np.zeros((0, 2)), (320, 320), 4.0) == []


def test_boxes_that_no_size_fits_need_smaller_images():
    [line] = small_boxes(np.array([(4.0, 4.0)]), (640, 640), 4.0)
    assert line.endswith("(95% have at least 4.0 px); model.anchor_scale 0.5 would fit 95%")
    [line] = small_boxes(np.array([(2.0, 2.0)]), (640, 640), 4.0)
    assert line.endswith("; cut the images into smaller ones")


def test_a_box_is_ignored_in_the_share_of_samples_in_which_it_has_less_than_3_px():
    torch.manual_seed(0)
    drawn = [uniform(0.5, 2.0) for _ in range(4000)]
    for side, share in zip(
        (1.4, 2.0, 4.0, 6.0), ignored_shares(np.array([1.4, 2.0, 4.0, 6.0]), (0.5, 2.0)), strict=True
    ):
        assert share == pytest.approx(np.mean([side * scale < 3 for scale in drawn]), abs=0.03)
    assert ignored_shares(np.array([2.9, 3.0]), (1.0, 1.0)).tolist() == [1, 0]


def test_boxes_that_training_ignores_are_counted_with_the_epochs_and_params(project):
    write_params({"train.augment.scale": [0.5, 2.0]})
    params = read_recipe().train
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "width": 768, "height": 768}],
        "annotations": [{"image_id": 1, "bbox": [0, 0, 4, 10]}] * 400 + [{"image_id": 1, "bbox": [0, 0, 40, 40]}] * 100,
    }
    [line] = ignored_boxes(coco, params, [(512, 512)] * 2 + [(768, 768)])
    # 3 px of 4 * 2/3 px need a scale of 1.125, of 4 px 0.75: (1.125 - 0.5) / 1.5 and 0.25 / 1.5 of 400 of 500 boxes
    assert line.startswith(
        "400 boxes of 500 in the training images are ignored in samples where they have less than 3 px: "
        "33.3% of all boxes on average in epochs 1 to 2 (512 x 512 px), 13.3% of all boxes on average in epoch 3 "
        "(768 x 768 px); a larger model.image_size, a larger first number of train.augment.scale"
    )
    [line] = ignored_boxes(coco, params, [(128, 128)])
    assert "; 400 boxes in all samples; tiles of the images or a larger model.image_size" in line
    assert ignored_boxes(coco, params, [(2560, 2560)]) == []


def test_the_stage_prints_and_writes_warnings_also_of_the_test_split(sample, capsys):
    coco = read("data/coco/train.json")
    [annotation, *_] = coco["annotations"]
    coco["annotations"] = [annotation | {"id": number} for number in range(1, 12)]
    coco["images"] = [image | {"file_name": f"test/{image['id']}.jpg"} for image in coco["images"]]
    write_json(Path("data/coco/test.json"), coco)
    write_params(SMALL | {"evaluate.max_detections": 10})
    visualise.main()
    warnings = read("plots/visualise/warnings.json")
    assert warnings[0].startswith("1 image with more objects than evaluate.max_detections (10), up to 11: test/")
    assert warnings[1].endswith("would fit 95%")
    assert capsys.readouterr().out.splitlines()[-2:] == [f"warning: {line}" for line in warnings]
