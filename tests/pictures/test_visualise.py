"""The stage, box sizes against anchor sizes, and warnings of what the network's settings leave out."""

import csv
import re
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from effdet.anchors import Anchors
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from projects import SMALL, read, spec_of, write_params
from torchvision.ops import box_iou

from stages import visualise
from viadet.annotations.coco import boxes_xyxy_of
from viadet.augmentation.randomness import uniform
from viadet.images.tiles import zoom_of
from viadet.network.build import build_network, effdet_config
from viadet.pictures.box_sizes import anchor_sizes_wh, box_sizes_wh, size_rows
from viadet.pictures.box_warnings import (
    Proposal,
    best_ious,
    crowded_images,
    ignored_boxes,
    ignored_shares,
    other_anchors,
    unfitting_boxes,
)
from viadet.project.files import write_json
from viadet.project.params import ModelParams, read_recipe

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


def scattered(box_wh: tuple[int, int], side: int = 768, count: int = 200) -> dict:
    """Boxes of one size anywhere in an image."""
    corners_xy = np.random.default_rng(1).uniform(0, np.subtract(side, box_wh), (count, 2)).tolist()
    annotations = [{"image_id": 1, "bbox": [*corner_xy, *box_wh]} for corner_xy in corners_xy]
    return {"images": [{"id": 1, "width": side, "height": side}], "annotations": annotations}


def model_of(image_size: int, anchor_scale: float) -> ModelParams:
    return ModelParams(
        name="tf_efficientdet_lite0",
        init="random",
        image_size=image_size,
        test_size=None,
        anchor_scale=anchor_scale,
    )


def cut(coco: dict, tiles: int) -> dict:
    """Cut the image of `scattered` into tiles; a box goes into that of its centre."""
    side = coco["images"][0]["width"] // tiles
    annotations = []
    for annotation in coco["annotations"]:
        x, y, width, height = annotation["bbox"]
        column, row = (x + width / 2) // side, (y + height / 2) // side
        box_xywh = [x - column * side, y - row * side, width, height]
        annotations.append({"image_id": int(row * tiles + column), "bbox": box_xywh})
    images = [{"id": number, "width": side, "height": side} for number in range(tiles**2)]
    return {"images": images, "annotations": annotations}


def share_by_effdets_anchors(coco: dict, model: ModelParams) -> float:
    """Compare each box with every single anchor, as effdet's labels do."""
    config = effdet_config(model.name)
    config.image_size, config.anchor_scale = model.input_wh[::-1], model.anchor_scale
    anchors_xyxy = Anchors.from_config(config).boxes[:, [1, 0, 3, 2]]
    boxes_xyxy = boxes_xyxy_of(coco["annotations"]) * (model.input_wh[0] / coco["images"][0]["width"])
    return float((box_iou(torch.from_numpy(boxes_xyxy).float(), anchors_xyxy).amax(1) >= 0.5).float().mean())


@pytest.mark.slow
@pytest.mark.parametrize("box_wh", [(4, 10), (10, 10), (20, 20)])
def test_a_proposal_that_is_followed_fits_the_share_that_it_promises(box_wh):
    coco = scattered(box_wh)
    [line] = unfitting_boxes([coco], model_of(768, 4.0))
    assert line.startswith(f"{round(200 * (1 - share_by_effdets_anchors(coco, model_of(768, 4.0))))} of 200 boxes have")
    found = re.search(
        r"(?:evaluate.test_time.tiles (\d) with .* auto, )?"
        r"model.image_size (\d+) and model.anchor_scale ([\d.]+) would fit (\d+)%$",
        line,
    )
    tiles, size, scale, promised = int(zoom_of(int(found[1] or 1))), int(found[2]), float(found[3]), int(found[4]) / 100
    assert scale >= 2
    share = share_by_effdets_anchors(cut(coco, tiles), model_of(size, scale))
    assert promised >= 0.95
    assert share == pytest.approx(promised, abs=0.01)
    rest = unfitting_boxes([cut(coco, tiles)], model_of(size, scale))
    assert all("would fit" not in line for line in rest)


def test_boxes_that_nothing_fits_are_told_without_a_proposal():
    [line] = unfitting_boxes([scattered((8, 64))], model_of(768, 4.0))
    assert line == (
        "200 of 200 boxes have no anchor with an IoU of 0.5 in the input of 768 x 768 px: only the best one learns "
        "each; no model.image_size or model.anchor_scale and no tiles fit more"
    )


def test_a_few_boxes_without_an_anchor_are_told_and_boxes_with_one_are_not():
    fitting = scattered((50, 50), count=99)
    assert unfitting_boxes([fitting], model_of(768, 4.0)) == []
    assert unfitting_boxes([], model_of(768, 4.0)) == []
    [line] = unfitting_boxes([fitting, scattered((8, 64), count=1)], model_of(768, 4.0))
    assert line.startswith("1 of 100 boxes has no anchor with an IoU of 0.5") and line.endswith("learns each")


def test_starting_weights_for_other_anchors_are_told_with_the_scale_that_they_were_made_for():
    start = {"init": "coco", "file": "lite0.pth", "anchor_scale": 3.0}
    assert other_anchors(start, model_of(768, 4.0)) == [
        "lite0.pth was trained with model.anchor_scale 3, not 4: at first its boxes are 1.33 times as large as the "
        "objects; with 3 they fit at once"
    ]
    assert other_anchors(start, model_of(768, 3.0)) == []
    assert other_anchors({"init": "imagenet", "file": "lite0.pth"}, model_of(768, 3.0)) == []


@given(
    st.sampled_from(["tf_efficientdet_lite0", "tf_efficientdet_d7x"]),
    st.tuples(*[st.sampled_from([128, 160, 320])] * 2),
    st.sampled_from([2.0, 3.0, 4.0]),
    st.lists(st.tuples(*[st.floats(0, 320)] * 2, *[st.floats(1, 320)] * 2), min_size=1, max_size=20),
)
@settings(max_examples=20, deadline=None)
def test_the_best_iou_is_that_of_all_anchors(name, input_wh, anchor_scale, boxes_xywh):
    config = effdet_config(name)
    config.image_size, config.anchor_scale = input_wh[::-1], anchor_scale
    boxes_xyxy = torch.from_numpy(boxes_xyxy_of([{"bbox": list(box_xywh)} for box_xywh in boxes_xywh])).float()
    expected = box_iou(boxes_xyxy, Anchors.from_config(config).boxes[:, [1, 0, 3, 2]]).amax(1)
    best = best_ious(np.array(boxes_xywh), name, Proposal(input_wh, anchor_scale))
    np.testing.assert_allclose(best, expected.numpy(), atol=1e-4)


def test_a_box_is_ignored_in_the_share_of_samples_in_which_it_has_less_than_3_px():
    torch.manual_seed(0)
    drawn = [uniform(0.5, 2.0) for _ in range(4000)]
    sides = np.array([1.4, 2.0, 4.0, 6.0])
    for side, share in zip(sides, ignored_shares(sides, (0.5, 2.0)), strict=True):
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
    assert "; 400 boxes in all samples; evaluate.test_time.tiles or a larger model.image_size" in line
    assert ignored_boxes(coco, params, [(2560, 2560)]) == []


def test_the_stage_prints_and_writes_warnings_also_of_the_test_split(sample, capsys):
    coco = read("data/coco/train.json")
    [annotation, *_] = coco["annotations"]
    coco["annotations"] = [annotation | {"id": number} for number in range(1, 12)]
    coco["images"] = [image | {"file_name": f"test/{image['id']}.jpg"} for image in coco["images"]]
    write_json(Path("data/coco/test.json"), coco)
    write_params(SMALL | {"evaluate.max_detections": 10})
    start = read("data/init/start.json")
    write_json(Path("data/init/start.json"), start | {"file": "mine.pth", "anchor_scale": 2.0})
    visualise.main()
    warnings = read("plots/visualise/warnings.json")
    assert warnings[0].startswith("1 image with more objects than evaluate.max_detections (10), up to 11: test/")
    assert "boxes have no anchor with an IoU of 0.5 in the input of 128 x 128 px" in warnings[1]
    assert warnings[2].startswith("mine.pth was trained with model.anchor_scale 2, not 4: ")
    assert capsys.readouterr().out.splitlines()[-len(warnings) :] == [f"warning: {line}" for line in warnings]
