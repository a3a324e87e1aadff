import csv
import json
from pathlib import Path

import torch
from PIL import Image
from projects import SMALL, read, run_module, write_params

from stages import evaluate, visualise
from viadet.evaluation.coco_metrics import STATS
from viadet.evaluation.error_kinds import KINDS
from viadet.pictures.drawing import picture_path
from viadet.pictures.training_set import box_sizes_wh
from viadet.project.files import write_json


def pictures(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def test_evaluate_writes_metrics_curve_detections_and_a_picture_for_each_image(model):
    evaluate.main()
    metrics = read("metrics/evaluate.json")
    expected = {"bbox_mAP", "bbox_mAP_50", "bbox_mAP_75", "bbox_mAP_s", "bbox_mAP_m", "bbox_mAP_l"}
    expected |= {"AR_1", "AR_10", "AR_100", "AR_s", "AR_m", "AR_l", "bbox_mAP_ids_from_0"}
    expected |= {"bbox_mAP_low", "bbox_mAP_high", "precision", "recall", "f1"}
    assert set(metrics) == expected | {f"views_{name}" for name in expected if name in STATS and "mAP" in name}
    assert metrics["bbox_mAP_low"] <= metrics["bbox_mAP"] <= metrics["bbox_mAP_high"]
    with Path("plots/evaluate/by_image.csv").open() as file:
        images = list(csv.DictReader(file))
    assert sorted(row["image"] for row in images) == ["val/0000.jpg", "val/0001.jpg", "val/0002.jpg"]
    assert [float(row["AP"]) for row in images] == sorted(float(row["AP"]) for row in images)
    assert sum(int(row["objects"]) for row in images) == 12
    with Path("plots/evaluate/precision_recall.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 101
    with Path("plots/evaluate/ap_by_iou.csv").open() as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    assert [row["iou"] for row in rows] == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    assert round(sum(row["AP"] for row in rows) / 10, 3) == metrics["bbox_mAP"]
    assert round(sum(row["recall"] for row in rows) / 10, 3) == metrics["AR_100"]
    assert round(rows[0]["AP"], 3) == metrics["bbox_mAP_50"]
    assert [row["error"] for row in read("plots/evaluate/errors.json")] == list(KINDS)
    results = json.loads(Path("data/detections.json").read_text())
    assert set(results[0]) == {"image_id", "category_id", "bbox", "score"}
    assert list(pictures("plots/evaluate/images")) == ["val_0000.jpg", "val_0001.jpg", "val_0002.jpg"]


def test_views_and_bootstrap_can_be_left_out(model):
    write_params(SMALL | {"evaluate.bootstrap": 0, "evaluate.test_time": None})
    evaluate.main()
    assert not [name for name in read("metrics/evaluate.json") if name.startswith("views") or name.endswith("_low")]


def test_xywh_boxes_become_corners():
    boxes_xyxy = evaluate.boxes_xyxy_of([{"bbox": [10, 20, 30, 40]}])
    assert boxes_xyxy.tolist() == [[10, 20, 40, 60]]
    assert evaluate.boxes_xyxy_of([]).shape == (0, 4)


def written():
    files = [path.read_bytes() for path in sorted(Path("plots").rglob("*")) if path.is_file()]
    return [*files, Path("data/detections.json").read_bytes(), Path("metrics/evaluate.json").read_bytes()]


def test_the_same_model_gives_the_same_bytes_again(model):
    evaluate.main()
    visualise.main()
    first = written()
    evaluate.main()
    visualise.main()
    assert written() == first


def test_box_sizes_are_shares_in_px_of_the_network_input(sample):
    visualise.main()
    with Path("plots/visualise/box_sizes.csv").open() as file:
        rows = {float(row["size"]): row for row in csv.DictReader(file)}
    for split in ("train", "val"):
        coco = read(f"data/coco/{split}.json")
        assert {max(image["width"], image["height"]) for image in coco["images"]} == {128}  # as is the input
        areas = [annotation["bbox"][2] * annotation["bbox"][3] for annotation in coco["annotations"]]
        for size in (16, 48, 96):
            share = sum(area <= size**2 for area in areas) / len(areas)
            assert abs(float(rows[size][split]) - share) < 1e-5
        assert float(rows[0][split]) == 0
        assert float(rows[640][split]) == 1


def test_no_detections_at_all_are_drawn_and_scored(model):
    from viadet.network.weights import load_network, save_network

    network, spec = load_network(Path("data/model"), torch.device("cpu"), (128, 128))
    with torch.no_grad():
        network.class_net.predict.conv_pw.bias.fill_(-50.0)
    save_network(network, spec, Path("data/model"))
    evaluate.main()
    assert json.loads(Path("data/detections.json").read_text()) == []
    assert read("metrics/evaluate.json")["bbox_mAP"] == 0
    assert len(pictures("plots/evaluate/images")) == 3


def test_several_categories_are_named_in_the_pictures(model):
    coco = read("data/coco/val.json")
    coco["categories"].append({"id": 2, "name": "kite"})
    write_json(Path("data/coco/val.json"), coco)
    evaluate.main()
    assert len(pictures("plots/evaluate/images")) == 3


def test_a_missing_model_is_told_in_one_line(sample):
    result = run_module("evaluate")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "evaluate: data/model/model.json is missing; `dvc repro` makes it"
    assert not Path("plots/evaluate").exists()


def test_visualise_draws_three_pictures_of_the_training_set(sample):
    visualise.main()
    assert list(pictures("plots/visualise/images")) == ["augmented.png", "box_shapes.png", "training_set.png"]
    for name in ("augmented.png", "training_set.png"):
        with Image.open(f"plots/visualise/images/{name}") as picture:
            colours = picture.convert("RGB").getcolors(2**24)
        assert any(colour == (0, 255, 0) for _, colour in colours), f"no box is drawn in {name}"


def test_box_sizes_are_those_of_the_networks_input():
    coco = {
        "images": [{"id": 1, "width": 200, "height": 100}],
        "annotations": [{"image_id": 1, "bbox": [0, 0, 50, 20]}],
    }
    # 200 px become 128: scale 0.64
    assert box_sizes_wh(coco, (128, 128)).tolist() == [[32.0, 12.8]]


def test_visualise_takes_a_changed_augmentation(sample):
    visualise.main()
    before = pictures("plots/visualise/images")
    write_params(SMALL | {"train.augment.copy_paste": 0})
    visualise.main()
    after = pictures("plots/visualise/images")
    assert before["augmented.png"] != after["augmented.png"]
    assert before["training_set.png"] == after["training_set.png"]


def test_every_picture_has_a_name_of_its_own_that_is_no_number():
    names = [picture_path(Path(), name).name for name in ("val/17.jpg", "val/17.png", "val/a.b.jpg", "val/17.jpeg")]
    assert names == ["val_17.jpg", "val_17.png.jpg", "val_a.b.jpg", "val_17.jpeg.jpg"]
    # `dvc plots diff` can't sort numbers and other names in one folder
    assert not any(Path(name).stem.isdigit() for name in names)
