"""The stage, on the untrained network."""

import shutil
from pathlib import Path

import pytest
from projects import SMALL, read, write_params

from stages import grad_cam
from viadet.detection.detector import Detector
from viadet.explanation.metrics import LOCALISATION
from viadet.project.files import read_json, write_json

pytestmark = pytest.mark.xdist_group("grad_cam")  # its tests share the fixtures below
METHODS = ("HiResCAM", "EigenCAM", "RandomCAM")


def outputs():
    return {
        path: path.read_bytes() for path in [*Path("plots").rglob("*"), *Path("metrics").iterdir()] if path.is_file()
    }


@pytest.fixture(scope="module")
def threshold(network, spec, coco, image_dir):
    """The score that three detections in all images reach."""
    paths = [image_dir / entry["file_name"] for entry in coco["images"]]
    images = Detector(network, spec)(paths, threshold=0.0)
    scores = sorted((score for detections in images for score in detections.scores.tolist()), reverse=True)
    return (scores[2] + scores[3]) / 2


@pytest.fixture(scope="module")
def project_folder(tmp_path_factory, annotated_coco, finished_sample, untrained_model):
    """A project with the untrained network, one of whose detections is right."""
    folder = tmp_path_factory.mktemp("grad_cam")
    shutil.copytree(finished_sample / "data/raw", folder / "data/raw")
    shutil.copytree(untrained_model, folder / "data/model")
    write_json(folder / "data/coco/val.json", annotated_coco)
    return folder


@pytest.fixture(scope="module")
def explained(project_folder, threshold):
    """The same project after the stage."""
    params = {"methods": ["HiResCAM", "EigenCAM"], "score_threshold": threshold, "max_images": 2, "checked_images": 3}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project_folder)
        write_params(SMALL | {f"grad_cam.{key}": value for key, value in params.items()})
        grad_cam.main()
    return project_folder


@pytest.fixture
def in_explained(explained, monkeypatch):
    monkeypatch.chdir(explained)


def test_pictures_are_drawn_of_max_images_and_all_images_are_measured(in_explained):
    names = {path.name for path in Path("plots/grad_cam").rglob("*") if path.is_file()}
    assert names == {"val_0000.jpg", "val_0001.jpg", "methods.png", "perturbation.csv", "randomisation.csv"}
    metrics = read("metrics/grad_cam.json")
    assert metrics["detections"] == 3
    assert metrics["detections"] == metrics["right"] + metrics["wrong"] == sum(metrics["made_at"].values())
    assert metrics["right"] + metrics["missed"] == len(read_json(Path("data/coco/val.json"))["annotations"])


def test_every_method_and_the_baseline_have_all_measurements(in_explained):
    metrics = read("metrics/grad_cam.json")
    for method in METHODS:
        assert 0 < metrics[method]["own"]["energy_box"] < 1
        assert metrics[method]["deletion"] > 0
        assert metrics[method]["untrained"]["energy_box"] > 0
    assert metrics["BoxCentre"].keys() == {"deletion", "insertion"}
    assert metrics["BoxCentre"]["insertion"] > 0


def test_random_weights_change_the_maps_that_depend_on_them(in_explained):
    metrics = read("metrics/grad_cam.json")
    # EigenCAM does not depend on the target: random heads change nothing, which is what the check is there to show
    assert metrics["EigenCAM"]["randomised"]["heads"] == 1
    assert metrics["HiResCAM"]["randomised"]["heads"] < 0.9
    assert abs(metrics["EigenCAM"]["randomised"]["backbone"]) < 0.9
    # one box's gradients reach only so far: even a network that has learnt nothing seems to point near the box
    assert metrics["HiResCAM"]["untrained"]["energy_box"] > metrics["RandomCAM"]["untrained"]["energy_box"]


def test_summary_and_curves_are_of_the_first_method(in_explained):
    metrics, summary = read("metrics/grad_cam.json"), read("metrics/grad_cam_summary.json")
    assert summary["CAM_energy_polygon"] == metrics["HiResCAM"]["own"]["energy_polygon"]
    assert summary["CAM_insertion"] == metrics["HiResCAM"]["insertion"]
    assert summary["explained_right"] == metrics["right"]
    rows = Path("plots/grad_cam/perturbation.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "percent,deletion,insertion,random_deletion,random_insertion"
    assert [row.split(",")[0] for row in rows[1:]] == ["2", "5", "10", "20", "40"]
    rows = Path("plots/grad_cam/randomisation.csv").read_text(encoding="utf-8").splitlines()
    assert rows[:2] == ["step,rank_correlation", "0,1"]


@pytest.mark.slow
def test_the_stage_gives_the_same_again(in_explained):
    first = outputs()
    grad_cam.main()
    assert outputs() == first


def test_without_annotations_or_detections_pictures_are_drawn_and_nothing_is_measured(
    project_folder, tmp_path, monkeypatch, capsys
):
    shutil.copytree(project_folder / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    coco = read_json(Path("data/coco/val.json"))
    entries = coco["images"]
    # the first image has neither, the second one annotations
    annotations = [annotation for annotation in coco["annotations"] if annotation["image_id"] == entries[1]["id"]]
    write_json(Path("data/coco/val.json"), {**coco, "images": entries[:2], "annotations": annotations})
    params = {"methods": ["GradCAM"], "score_threshold": 1.0, "checked_images": 1}
    write_params(SMALL | {f"grad_cam.{key}": value for key, value in params.items()})
    grad_cam.main()
    assert "0 detections on 2 of 2 validation images measured" in capsys.readouterr().out
    metrics, summary = read("metrics/grad_cam.json"), read("metrics/grad_cam_summary.json")
    assert (metrics["detections"], metrics["right"], metrics["wrong"]) == (0, 0, 0)
    assert metrics["missed"] == summary["explained_missed"] == len(annotations)
    assert metrics["GradCAM"]["own"] == dict.fromkeys(LOCALISATION)
    assert metrics["GradCAM"]["deletion"] is summary["CAM_deletion"] is None
    assert metrics["chance"] == {"box": None, "polygon": None}
    assert len(list(Path("plots/grad_cam/images").iterdir())) == 2
    assert Path("plots/grad_cam/methods.png").is_file()
