"""The chain as users run it: DVC in a clone, with an empty home."""

import ast
import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from projects import REPOSITORY, Clone, set_param, small_changes
from ruamel.yaml import YAML

PIPELINE = YAML(typ="safe", pure=True).load((REPOSITORY / "dvc.yaml").read_text())
STAGES = PIPELINE["stages"]
ORDER = ["fetch", "convert", "visualise", "train", "evaluate", "feature_maps", "grad_cam"]


def imported_files(script: Path) -> set[Path]:
    """The repository's own modules that a script imports, directly or through one another."""
    modules = set()
    for node in ast.walk(ast.parse((REPOSITORY / script).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = Path(node.module.replace(".", "/"))
            modules |= {module, *(module / alias.name for alias in node.names)}
    files = {path for module in modules if (REPOSITORY / (path := module.with_suffix(".py"))).exists()}
    return files.union(*(imported_files(path) for path in files))


def test_there_are_seven_stages_with_a_script_each():
    assert list(STAGES) == ORDER
    assert all(stage["cmd"] == f"python -m stages.{name}" for name, stage in STAGES.items())
    assert all(stage["desc"] for stage in STAGES.values())


@pytest.mark.parametrize("name", ORDER)
def test_a_stage_depends_on_just_the_code_that_it_runs(name):
    script = Path("stages", f"{name}.py")
    needed = {str(path) for path in imported_files(script) | {script}}
    assert needed == {dep for dep in STAGES[name]["deps"] if dep.endswith(".py")}


@pytest.mark.parametrize("name", ORDER)
def test_help_says_what_a_stage_reads_and_writes(name):
    for command in (["-m", f"stages.{name}"], [f"stages/{name}.py"]):
        result = subprocess.run(
            [sys.executable, *command, "--help"], capture_output=True, text=True, cwd=REPOSITORY, check=False
        )
        assert result.returncode == 0, result.stderr
        assert "Reads " in result.stdout
        assert "Writes " in result.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return Clone(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="module")
def experiment(clone):
    """The clone after an experiment with the small sample."""
    clone.run("dvc", "exp", "run", "-S", "recipe=sample", *small_changes())
    return clone


@pytest.mark.skipif(not (REPOSITORY / "dvc.lock").exists(), reason="no dvc.lock yet")
def test_the_committed_lock_fits_code_and_params(clone):
    output = clone.run("dvc", "repro", "--dry", "--allow-missing")
    assert "Running stage" not in output
    assert "Data and pipelines are up to date" in output


def test_the_whole_chain_runs_as_an_experiment(experiment):
    written = [
        "data/raw/train/via_region_data.json",
        "data/coco/val.json",
        "data/model/model.safetensors",
        "data/model/model.json",
        "data/detections.json",
        "plots/visualise/images/training_set.png",
        "plots/visualise/box_sizes.csv",
        "plots/evaluate/images/val_0000.jpg",
        "plots/evaluate/precision_recall.csv",
        "plots/evaluate/ap_by_iou.csv",
        "plots/evaluate/by_image.csv",
        "plots/evaluate/errors.json",
        "plots/feature_maps/val_0000.jpg",
        "plots/grad_cam/images/val_0000.jpg",
        "plots/grad_cam/methods.png",
        "plots/grad_cam/perturbation.csv",
        "plots/grad_cam/randomisation.csv",
        "plots/train/loss.csv",
        "plots/train/ap.csv",
    ]
    assert [name for name in written if not (experiment.folder / name).is_file()] == []
    assert json.loads((experiment.folder / "metrics/dataset.json").read_text())["train_images"] == 6
    assert "data/raw" not in experiment.run("git", "ls-files")


def test_nothing_is_left_to_do_after_a_run(experiment):
    assert "Data and pipelines are up to date" in experiment.run("dvc", "status")


def test_metrics_of_the_experiment_can_be_compared_with_the_commit(experiment):
    rows = json.loads(experiment.run("dvc", "metrics", "diff", "--all", "--json"))
    assert set(rows) == {f"metrics/{name}.json" for name in ("dataset", "evaluate", "grad_cam_summary", "train")}
    assert rows["metrics/dataset.json"]["train_images"]["new"] == 6


def test_plots_of_the_experiment_can_be_compared_with_the_commit(experiment):
    experiment.run("dvc", "plots", "diff", "HEAD", "workspace", "-o", "comparison")
    page = (experiment.folder / "comparison/index.html").read_text()
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


@contextlib.contextmanager
def changed_param(clone, key, value):
    path = clone.folder / "params.yaml"
    before = path.read_text()
    yaml = YAML()
    params = yaml.load(before)
    set_param(params, key, value)
    with path.open("w") as file:
        yaml.dump(params, file)
    yield
    path.write_text(before)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("sample.evaluate.score_threshold", 0.3, ["evaluate"]),
        ("sample.feature_maps.reduction", "topk", ["feature_maps"]),
        ("sample.grad_cam.max_boxes", 3, ["grad_cam"]),
        ("sample.train.lr", 0.003, ["train"]),  # what follows it runs once the model has changed
        ("sample.train.epochs", 3, ["visualise", "train"]),  # the last epochs are plain
        ("sample.train.augment.flip", 0.4, ["visualise", "train"]),
        ("sample.convert.bad_regions", "skip", ["convert"]),
        ("balloon.train.epochs", 3, []),
    ],
)
def test_a_changed_param_changes_its_stage_and_no_other(experiment, key, value, expected):
    with changed_param(experiment, key, value):
        output = experiment.run("dvc", "repro", "--dry")
    assert [line.split("'")[1] for line in output.splitlines() if "Running stage" in line] == expected


def test_a_failing_stage_stops_the_chain_with_one_line(experiment):
    with changed_param(experiment, "sample.train.lr", 0.0):
        result = subprocess.run(
            ["dvc", "repro"],
            cwd=experiment.folder,
            env=experiment.environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if line.startswith("train: ")]
    assert lines == ["train: params.yaml: sample.train.lr is 0.0: input should be greater than 0"]
    assert "Running stage 'evaluate'" not in result.stdout


def test_what_follows_a_changed_stage_runs_and_nothing_before_it(experiment):
    with changed_param(experiment, "sample.train.seed", 1):
        output = experiment.run("dvc", "repro")
    ran = [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]
    assert ran == ["visualise", "train", "evaluate", "feature_maps", "grad_cam"]
