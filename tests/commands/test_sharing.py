"""What DVC makes of a finished sweep: tables, differences, curves, remotes, the report of a pull request."""

import json
import re

import pytest
from projects import REPOSITORY, running_stages

from viadet.project.params import load_yaml

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chain")]


@pytest.fixture(scope="module")
def colleague(sweep):
    """A second clone beside the first: what git carries, and no cache."""
    sweep.run("dvc", "push")
    folder = sweep.folder.parent / "colleague"
    sweep.run("git", "clone", "--quiet", str(sweep.folder), str(folder))
    return sweep.at(folder)


def test_a_sweep_is_a_table_sorted_by_its_best(sweep, rates):
    table = json.loads(sweep.run("dvc", "exp", "show", "--json"))
    head = next(entry for entry in table if entry["rev"] != "workspace")
    experiments = {entry["name"]: entry["revs"][0]["data"] for entry in head["experiments"]}
    params = {name: data["params"]["params.yaml"]["data"] for name, data in experiments.items()}
    assert {name: recipes["sample"]["train"]["lr"] for name, recipes in params.items()} == rates
    assert all("bbox_mAP" in data["metrics"]["metrics/evaluate.json"]["data"] for data in experiments.values())
    losses = {name: data["metrics"]["metrics/train.json"]["data"]["loss"] for name, data in experiments.items()}
    assert len(set(losses.values())) == 2

    rows = sweep.run("dvc", "exp", "show", "--csv", "--only-changed", "--sort-by", "loss").splitlines()
    names = [name for row in rows for name in rates if name in row]
    assert names == sorted(losses, key=losses.get)
    assert "train_images" not in rows[0]  # the same in all runs
    assert "sample.train.lr" in rows[0]


def test_what_follows_a_changed_stage_runs_and_nothing_before_it_nor_what_ran_already(sweep):
    ran = running_stages(sweep.output)
    assert ran == ["train", "evaluate", "feature_maps", "grad_cam"]  # of sweep-1; the commit has run sweep-2's params


def test_metrics_and_params_of_two_runs_differ_in_flat_rounded_rows(sweep, rates):
    metrics = json.loads(sweep.run("dvc", "metrics", "diff", "--all", "--json", *rates))
    assert set(metrics) == {f"metrics/{name}.json" for name in ("dataset", "evaluate", "grad_cam_summary", "train")}
    for entries in metrics.values():
        assert not any("." in name for name in entries)
    for entry in metrics["metrics/evaluate.json"].values():
        assert entry["old"] == round(entry["old"], 3)
    changed = json.loads(sweep.run("dvc", "metrics", "diff", "--json", *rates))
    assert "metrics/dataset.json" not in changed
    params = json.loads(sweep.run("dvc", "params", "diff", "--json", *rates))
    assert params == {"params.yaml": {"sample.train.lr": {"old": 0.002, "new": 0.004, "diff": 0.002}}}


def test_each_curve_overlays_and_each_picture_has_its_counterpart(sweep, rates):
    plots = json.loads(sweep.run("dvc", "plots", "diff", "--json", "-o", "plots_of_both", *rates))
    assert "errors" not in plots
    curves = {name: entries for name, entries in plots["data"].items() if not name.startswith("plots/")}
    assert list(curves) == [
        "Box sizes",
        "Training loss",
        "Learning rate",
        "AP by epoch",
        "Precision and recall",
        "AP by IoU",
        "Errors",
        "Deletion",
        "Insertion",
        "Random weights",
    ]
    without_rows = {"Deletion", "Insertion", "Random weights"}  # as these detectors detect nothing
    for name in curves.keys() - without_rows:
        (entry,) = curves[name]  # one plot for both, so they overlay
        assert set(entry["revisions"]) == set(rates), name
        values = entry["content"]["data"]["values"]
        fields = {revision: {frozenset(row) for row in values if row["rev"] == revision} for revision in rates}
        assert fields["sweep-1"] == fields["sweep-2"], name
    pictures = {name: entries for name, entries in plots["data"].items() if name.startswith("plots/")}
    assert all(entry["type"] == "image" for entries in pictures.values() for entry in entries)
    for entries in pictures.values():
        assert [entry["revisions"] for entry in entries] == [[revision] for revision in rates]
    folders = {name.rsplit("/", 1)[0] for name in pictures}
    stages = ("visualise/images", "evaluate", "evaluate/images", "feature_maps", "grad_cam", "grad_cam/images")
    assert folders == {f"plots/{folder}" for folder in stages}


def test_a_colleague_gets_model_and_pictures_without_training(colleague, sweep):
    assert not (colleague.folder / "data/model").exists()
    colleague.run("dvc", "pull")
    for name in ("data/model/model.safetensors", "plots/grad_cam/images/val_0000.jpg", "data/detections.json"):
        assert (colleague.folder / name).read_bytes() == (sweep.folder / name).read_bytes()
    assert "Data and pipelines are up to date" in colleague.run("dvc", "repro", "--dry")


def test_an_experiment_travels_between_two_clones(colleague, sweep):
    hub = sweep.folder.parent / "hub.git"
    sweep.run("git", "init", "--quiet", "--bare", str(hub))
    sweep.run("git", "remote", "add", "hub", str(hub))
    sweep.run("git", "push", "--quiet", "hub", "HEAD:refs/heads/main")
    sweep.run("dvc", "exp", "push", "hub", "sweep-2")
    colleague.run("git", "remote", "add", "hub", str(hub))
    assert "sweep-2" in colleague.run("dvc", "exp", "list", "--all-commits", "hub")
    colleague.run("dvc", "exp", "pull", "hub", "sweep-2")
    colleague.run("dvc", "exp", "apply", "sweep-2")
    assert "lr: 0.004" in (colleague.folder / "params.yaml").read_text(encoding="utf-8")
    assert (colleague.folder / "data/model/model.safetensors").is_file()
    assert "Data and pipelines are up to date" in colleague.run("dvc", "repro", "--dry")
    colleague.run("dvc", "exp", "branch", "sweep-2", "best")
    assert "best" in colleague.run("git", "branch", "--list", "best")


@pytest.mark.needs("posix")
def test_the_workflow_reports_what_a_pull_request_changes(sweep):
    workflow = load_yaml((REPOSITORY / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    (script,) = [step["run"] for step in workflow["jobs"]["report"]["steps"] if step.get("name") == "Report"]
    variables = ("BASE=sweep-1", "HEAD=sweep-2", "GITHUB_STEP_SUMMARY=summary.md")
    sweep.run("env", *variables, "bash", "-euo", "pipefail", "-c", script)
    report = (sweep.folder / "report.md").read_text(encoding="utf-8")
    assert re.search(r"\| metrics/train.json +\| loss +\| [\d.]+ +\| [\d.]+ +\| -?[\d.]+ +\|", report)
    assert re.search(r"\| params.yaml +\| sample.train.lr +\| 0.00[24] +\| 0.00[24] +\|", report)
    assert (sweep.folder / "summary.md").read_text(encoding="utf-8") == report
