"""The stage: what it writes, the same bytes twice, what can be left out."""

import csv
import shutil
from pathlib import Path

import pytest
import torch
from evaluation.conftest import FEW_DRAWN
from projects import read, write_params

from stages import evaluate
from viadet.evaluation.coco_metrics import STATS
from viadet.evaluation.error_kinds import ERROR_KINDS
from viadet.network.weights import load_network, save_network
from viadet.project.errors import UserError

PICTURES = ["val_0000.jpg", "val_0001.jpg", "val_0002.jpg"]
pytestmark = pytest.mark.xdist_group("evaluate")  # its tests share the fixture `evaluated`


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def pictures(folder=Path()):
    return sorted(path.name for path in (folder / "plots/evaluate/images").iterdir())


def outputs(folder):
    card = folder / "data/model/README.md"
    written = [folder / "data/detections.json", card, *sorted((folder / "metrics").glob("evaluate*.json"))]
    paths = [*written, *sorted((folder / "plots").rglob("*.*"))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_metrics_are_those_of_coco_the_match_counts_the_bootstrap_and_the_views(evaluated):
    metrics = read(evaluated / "metrics/evaluate_details.json")
    expected = {*STATS, "bbox_mAP_ids_from_0", "bbox_mAP_low", "bbox_mAP_high", "precision", "recall", "f1"}
    assert set(metrics) == expected | {f"views_{name}" for name in STATS if "mAP" in name}
    assert metrics["bbox_mAP_low"] <= metrics["bbox_mAP"] <= metrics["bbox_mAP_high"]
    assert metrics["views_bbox_mAP_50"] != metrics["bbox_mAP_50"]
    main = read(evaluated / "metrics/evaluate.json")
    assert set(main) == {*(name for name in STATS if "mAP" in name), "f1", "views_bbox_mAP"}
    assert main.items() <= metrics.items()


def test_images_are_listed_by_ap(evaluated):
    images = rows(evaluated / "plots/evaluate/by_image.csv")
    assert sorted(row["image"] for row in images) == ["val/0000.jpg", "val/0001.jpg", "val/0002.jpg"]
    assert [float(row["AP"]) for row in images] == sorted(float(row["AP"]) for row in images)
    assert sum(int(row["objects"]) for row in images) == len(read(evaluated / "data/coco/val.json")["annotations"])


def test_curves_agree_with_the_metrics(evaluated):
    metrics = read(evaluated / "metrics/evaluate_details.json")
    precision_recall = rows(evaluated / "plots/evaluate/precision_recall.csv")
    assert len(precision_recall) == 101
    assert list(precision_recall[0]) == ["recall", "precision_50", "precision_75", "precision_90"]
    by_iou = rows(evaluated / "plots/evaluate/ap_by_iou.csv")
    assert round(sum(float(row["AP"]) for row in by_iou) / 10, 3) == metrics["bbox_mAP"]
    assert round(sum(float(row["recall"]) for row in by_iou) / 10, 3) == metrics["AR_100"]
    assert round(float(by_iou[0]["AP"]), 3) == metrics["bbox_mAP_50"]
    assert [row["error"] for row in read(evaluated / "plots/evaluate/errors.json")] == list(ERROR_KINDS)


def test_tables_by_class_agree_with_the_metrics(evaluated):
    metrics, plots = read(evaluated / "metrics/evaluate.json"), evaluated / "plots/evaluate"
    (balloon,) = rows(plots / "by_class.csv")
    assert (float(balloon["AP"]), float(balloon["AP_50"])) == (metrics["bbox_mAP"], metrics["bbox_mAP_50"])
    images = rows(plots / "by_image.csv")
    for column in ("objects", "right", "wrong"):
        assert int(balloon[column]) == sum(int(row[column]) for row in images)
    errors = [{key: str(value) for key, value in row.items()} for row in read(plots / "errors.json")]
    assert [row["count"] for row in rows(plots / "errors_by_class.csv")] == [row["count"] for row in errors]
    confusions = {(row["object"], row["detection"]): int(row["count"]) for row in rows(plots / "confusion_matrix.csv")}
    right = confusions.get(("balloon", "balloon"), 0)
    assert right + confusions.get(("balloon", "(missed)"), 0) == int(balloon["objects"])
    found = right + confusions.get(("(background)", "balloon"), 0)
    assert found == int(balloon["right"]) + int(balloon["wrong"])


def test_every_image_has_detections_in_coco_results_format_and_a_picture(evaluated):
    results = read(evaluated / "data/detections.json")
    assert set(results[0]) == {"image_id", "category_id", "bbox", "score"}
    assert {result["image_id"] for result in results} == {1, 2, 3}
    assert pictures(evaluated) == PICTURES


def test_the_same_model_gives_the_same_bytes_again(evaluated, model):
    write_params(FEW_DRAWN)
    evaluate.main()
    assert outputs(model) == outputs(evaluated)


def test_views_bootstrap_and_pictures_can_be_left_out_and_more_detections_counted(model):
    changes = {"bootstrap": 0, "test_time": None, "max_images": 1, "max_detections": 150}
    write_params(FEW_DRAWN | {f"evaluate.{key}": value for key, value in changes.items()})
    evaluate.main()
    assert len(read("data/detections.json")) == 3 * 150
    assert {"AR_10", "AR_150"} < set(read("metrics/evaluate_details.json")) - {"AR_100"}
    assert not [
        name for name in read("metrics/evaluate_details.json") if name.startswith("views") or name.endswith("_low")
    ]
    assert pictures() == PICTURES[:1]
    assert len(rows(Path("plots/evaluate/by_image.csv"))) == 3  # all are measured


def test_with_tiles_the_pictures_show_what_all_views_find_and_the_rest_stays(model, evaluated, capsys):
    write_params(FEW_DRAWN | {"evaluate.test_time.tiles": 2})
    evaluate.main()
    assert "with tiles, as the pictures; all else is of whole photographs" in capsys.readouterr().out
    assert pictures() == pictures(evaluated)
    now, before = outputs(model), outputs(evaluated)
    changed = {name for name, data in now.items() if data != before[name]}
    images = {f"plots/evaluate/images/{name}" for name in PICTURES}
    assert images & changed
    assert changed - images == {
        "data/model/README.md",
        "metrics/evaluate.json",
        "metrics/evaluate_details.json",
    }  # views


def test_a_test_set_is_measured_on_request_and_only_then(model, evaluated):
    shutil.copy("data/coco/val.json", "data/coco/test.json")
    write_params(FEW_DRAWN | {"evaluate.test_set": True})
    evaluate.main()
    metrics = read("metrics/evaluate_details.json")
    assert metrics["test_bbox_mAP"] == metrics["bbox_mAP"] == read("metrics/evaluate.json")["test_bbox_mAP"]
    assert not [name for name in read(evaluated / "metrics/evaluate_details.json") if name.startswith("test")]


def test_a_test_set_that_does_not_exist_is_an_error_with_the_ways_to_get_one(model):
    write_params(FEW_DRAWN | {"evaluate.test_set": True, "evaluate.test_time": None})
    with pytest.raises(UserError, match=r"^evaluate\.test_set is true, but no images are kept for a test; set it to "):
        evaluate.main()
    assert not Path("plots/evaluate").exists()


def test_without_detections_metrics_are_0_and_pictures_are_drawn(model):
    network, spec = load_network(Path("data/model"), torch.device("cpu"), (128, 128))
    with torch.no_grad():
        network.class_net.predict.conv_pw.bias.fill_(-50.0)
    save_network(network, spec, Path("data/model"))
    evaluate.main()
    assert read("data/detections.json") == []
    assert read("metrics/evaluate.json")["bbox_mAP"] == 0
    assert pictures() == PICTURES


def test_a_missing_model_is_an_error_that_says_what_to_run(sample):
    with pytest.raises(UserError, match=r"^data/model/model\.json is missing; run `dvc repro` to create it$"):
        evaluate.main()
    assert not Path("plots/evaluate").exists()
