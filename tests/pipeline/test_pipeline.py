"""The chain as users run it: DVC in a clone, with an empty home."""

import json

import pytest
from projects import changed_file, changed_param, stages_to_run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chain")]


def test_the_whole_chain_runs_as_an_experiment(finished_clones):
    experiment = finished_clones[1]
    written = [
        "data/raw/train/via_region_data.json",
        "data/coco/val.json",
        "data/model/model.safetensors",
        "data/model/model.json",
        "data/model/README.md",
        "data/detections.json",
        "plots/visualise/images/training_set.png",
        "plots/visualise/box_sizes.csv",
        "plots/evaluate/images/val_0000.jpg",
        "plots/evaluate/precision_recall.csv",
        "plots/evaluate/ap_by_iou.csv",
        "plots/evaluate/by_class.csv",
        "plots/evaluate/by_image.csv",
        "plots/evaluate/confusion_matrix.csv",
        "plots/evaluate/confusion_matrix.png",
        "plots/evaluate/errors.json",
        "plots/evaluate/errors_by_class.csv",
        "plots/feature_maps/val_0000.jpg",
        "plots/grad_cam/images/val_0000.jpg",
        "plots/grad_cam/methods.png",
        "plots/grad_cam/perturbation.csv",
        "plots/grad_cam/randomisation.csv",
        "plots/train/loss.csv",
        "plots/train/ap.csv",
    ]
    assert [name for name in written if not (experiment.folder / name).is_file()] == []
    assert json.loads((experiment.folder / "metrics/dataset.json").read_text(encoding="utf-8"))["train_images"] == 6
    assert "data/raw" not in experiment.run("git", "ls-files")


def test_nothing_is_left_to_do_after_a_run(experiment):
    assert "Data and pipelines are up to date" in experiment.run("dvc", "status")


def test_metrics_of_the_experiment_can_be_compared_with_the_commit(experiment):
    rows = json.loads(experiment.run("dvc", "metrics", "diff", "--all", "--json"))
    assert set(rows) == {f"metrics/{name}.json" for name in ("dataset", "evaluate", "grad_cam_summary", "train")}
    assert rows["metrics/dataset.json"]["train_images"]["new"] == 6


def test_plots_of_the_experiment_can_be_compared_with_the_commit(experiment):
    experiment.run("dvc", "plots", "diff", "HEAD", "workspace", "-o", "comparison")
    page = (experiment.folder / "comparison/index.html").read_text(encoding="utf-8")
    for title in (
        "Training loss and its two parts",
        "Learning rate",
        "AP on the validation images",
        "Precision by recall",
        "Score without the CAM's highest pixels",
        "Score with these pixels alone",
        "Rank correlation with the CAM of random weights",
    ):
        assert title in page
    pictures = {path.name for path in (experiment.folder / "comparison/static").iterdir()}
    assert any("training_set.png" in name for name in pictures)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("sample.evaluate.score_threshold", 0.3, ["evaluate"]),
        ("sample.feature_maps.reduction", "topk", ["feature_maps"]),
        ("sample.grad_cam.max_boxes", 3, ["grad_cam"]),
        ("sample.train.lr", 0.003, ["train", "evaluate"]),  # the model card tells it; the others wait for the model
        ("sample.train.epochs", 3, ["visualise", "train", "evaluate"]),  # the last epochs are plain
        ("sample.train.augment.flip", 0.4, ["visualise", "train", "evaluate"]),
        ("sample.train.small_share", 0.5, ["visualise", "train", "evaluate"]),
        ("sample.convert.bad_regions", "skip", ["convert"]),
        ("sample.evaluate.max_detections", 200, ["visualise", "evaluate", "grad_cam"]),
        ("balloon.train.epochs", 3, []),
    ],
)
def test_a_changed_param_changes_its_stage_and_no_other(experiment, key, value, expected):
    with changed_param(experiment, key, value):
        assert stages_to_run(experiment) == expected


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("viadet/pictures/cams.py", ["grad_cam"]),
        ("viadet/pictures/drawing.py", ["visualise", "evaluate", "feature_maps", "grad_cam"]),
        ("viadet/pictures/comparison.py", []),
        ("viadet/commands/repeat.py", []),
        ("viadet/training/trainer.py", ["train"]),
        ("viadet/sample/balloons.py", ["fetch"]),
        ("viadet/via/shapes.py", ["convert"]),
        ("uv.lock", ["fetch"]),  # what follows runs if a version has changed that it depends on
    ],
)
def test_changed_code_changes_the_stages_that_run_it_and_no_other(experiment, file, expected):
    with changed_file(experiment, file, lambda text: f"{text}# changed\n"):
        assert stages_to_run(experiment) == expected


def test_caches_of_the_interpreter_are_no_dependencies(experiment):
    for room in ("training", "annotations"):
        cache = experiment.folder / "viadet" / room / "__pycache__"
        cache.mkdir(exist_ok=True)
        (cache / "module.cpython-399.pyc").write_bytes(b"code")
    assert stages_to_run(experiment) == []


def test_a_failing_stage_stops_the_chain_with_one_line(experiment):
    with changed_param(experiment, "sample.convert.points", "keep"):
        result = experiment.call("dvc", "repro")
    assert result.returncode != 0
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("convert: ")]
    assert line.startswith("convert: params.yaml: sample.convert.points is 'keep': input should be 'error' or 'skip'; ")
    assert "Running stage 'visualise'" not in result.stdout
