"""Figures of another run: a tiny pipeline with this project's names of files, run by DVC as far as a test says."""

import json
import re

import pytest
from projects import Clone

PIPELINE = """
stages:
  train:
    cmd: python train.py
    deps: [train.py]
    params: [recipe, "${recipe}.lr"]
    outs: [model.txt]
    metrics: [metrics/train.json: {cache: false}]
    plots: [curve.csv: {cache: false}]
  evaluate:
    cmd: python evaluate.py
    deps: [evaluate.py, model.txt]
    metrics: [metrics/evaluate.json: {cache: false}]
plots:
  - Loss: {x: epoch, y: {curve.csv: [loss]}}
"""
TRAIN = """
import json, pathlib, re
params = pathlib.Path("params.yaml").read_text()
recipe = re.search("recipe: (.+)", params)[1]
lr = float(re.search(recipe + ":.*\\n *lr: (.+)", params)[1])
if lr > 1:
    raise SystemExit("the loss is nan")
pathlib.Path("model.txt").write_text(str(lr))
pathlib.Path("metrics/train.json").write_text(json.dumps({"loss": lr}))
pathlib.Path("curve.csv").write_text(f"epoch,loss\\n1,{lr}\\n2,{lr / 2}\\n")
"""
EVALUATE = """
import json, pathlib
ap = float(pathlib.Path("model.txt").read_text())
pathlib.Path("metrics/evaluate.json").write_text(json.dumps({"bbox_mAP": ap, "bbox_mAP_50": ap, "bbox_mAP_75": ap}))
"""
PARAMS = "recipe: first\nfirst:\n  lr: 0.5\nsecond:\n  lr: 0.25\n"
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("revisions")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A clone after runs that went through, that stopped before `evaluate`, and, in the workspace, that failed."""
    clone = Clone(tmp_path_factory.mktemp("revisions")).with_identity()
    clone.run("git", "rm", "--quiet", "-r", "metrics", "plots", "dvc.lock", "stages")
    files = {"dvc.yaml": PIPELINE, "train.py": TRAIN, "evaluate.py": EVALUATE, "params.yaml": PARAMS}
    for name, text in files.items():
        (clone.folder / name).write_text(text, encoding="utf-8")
    (clone.folder / "metrics").mkdir()
    clone.run("dvc", "repro")
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "-m", "evaluated")
    clone.run("dvc", "exp", "run", "-n", "whole", "-S", "first.lr=0.125")
    clone.run("git", "restore", ".")
    clone.run("dvc", "exp", "run", "-n", "trained", "-S", "recipe=second", "train")
    clone.run("git", "restore", ".")
    assert clone.call("dvc", "exp", "run", "-n", "failed", "-S", "first.lr=1e30").returncode != 0
    return clone


def test_the_table_has_only_figures_of_the_runs_themselves(runs):
    lines = runs.run("viadet", "experiments").splitlines()
    rows = [" ".join(line.split()) for line in lines]
    assert rows[1] == "workspace - - - (not evaluated) lr=1e+30"
    assert re.fullmatch(r"\w{7} \S+ 0\.500 0\.500 0\.500", rows[2])
    assert rows[3:] == ["whole 0.125 0.125 0.125 lr=0.125", "trained - - - (not evaluated) recipe=second"]


def test_the_page_leaves_out_what_is_of_another_run(runs):
    output = runs.run("viadet", "compare", "trained", "workspace", "-o", "page.html")
    page = (runs.folder / "page.html").read_text(encoding="utf-8")
    assert (
        "trained has not run all stages with its params and code; left out, as of another run: metrics/evaluate.json"
        in output
    )
    assert "workspace has not run all stages" in output
    assert "<td>bbox_mAP</td><td>none</td><td>none</td>" in page
    assert "<td>loss</td><td>0.25</td><td>none</td>" in page  # `trained` has trained
    assert "Loss: not at workspace" in page


def test_code_that_changed_since_is_noticed_in_a_commit_too(runs, tmp_path):
    clone = runs.copy_to(tmp_path / "clone")
    clone.run("git", "restore", ".")
    with (clone.folder / "evaluate.py").open("a", encoding="utf-8") as file:
        file.write("# as before\n")
    clone.run("git", "commit", "--quiet", "-am", "not run")
    metrics = json.loads(clone.run("git", "show", "HEAD:metrics/evaluate.json"))
    assert metrics["bbox_mAP"] == 0.5
    assert "not run" in clone.run("git", "log", "-1", "--format=%s")
    for row in clone.run("viadet", "experiments").splitlines()[1:3]:
        assert "-  (not evaluated)" in row
