"""The table of experiments: rows from DVC's JSON, their order, and lines that fit a terminal."""

import json
import re

import pytest
from click.testing import CliRunner
from projects import repository_params

from viadet.commands.app import main
from viadet.commands.experiments import changed_params, commit_rows, format_rows

PARAMS = repository_params()


def entry(name, ap, recipe="sample", **train):
    """A revision in the JSON of `dvc exp show`."""
    params = PARAMS | {"recipe": recipe}
    params[recipe] = PARAMS[recipe] | {"train": PARAMS[recipe]["train"] | train}
    metrics = {} if ap is None else {"bbox_mAP": ap, "bbox_mAP_50": ap, "bbox_mAP_75": 0.0}
    data = {"params": {"params.yaml": {"data": params}}, "metrics": {"metrics/evaluate.json": {"data": metrics}}}
    return {"rev": "0123456789abcdef" * 2, "name": name, "data": data, "error": None, "experiments": None}


def commit_with(*experiments):
    """The workspace and a commit with experiments, as DVC lists them: each an entry and its state."""
    listed = [
        {"revs": [experiment], "name": experiment["name"], "executor": {"state": state} if state else None}
        for experiment, state in experiments
    ]
    workspace = entry(None, 0.5, lr=0.5) | {"rev": "workspace"}
    return [workspace, entry("main", 0.5) | {"experiments": listed}]


def test_experiments_follow_their_commit_with_the_best_ap_first():
    commits = commit_with(
        (entry("worse", 0.2, lr=0.003), None),
        (entry("waiting", None, lr=0.1), "queued"),
        (entry("better", 0.7, lr=0.001, batch_size=8), "success"),
    )
    workspace, *rows = [row for commit in commits for row in commit_rows(commit, commits)]
    assert (workspace.name, workspace.note) == ("workspace", "train.lr=0.5")
    assert [row.name for row in rows] == ["0123456 main", "  better", "  worse", "  waiting"]
    assert [row.note for row in rows] == [
        "",
        "train.batch_size=8, train.lr=0.001",
        "train.lr=0.003",
        "(queued) train.lr=0.1",
    ]


def test_params_are_compared_with_those_of_the_same_recipe():
    other = PARAMS | {
        "recipe": "balloon",
        "sample": PARAMS["sample"] | {"train": PARAMS["sample"]["train"] | {"lr": 1}},
    }
    assert changed_params(other | {"recipe": "sample"}, PARAMS | {"recipe": "balloon"}) == [
        "recipe=sample",
        "train.lr=1",
    ]
    assert changed_params(other, PARAMS | {"recipe": "balloon"}) == []  # the sample does not run


def test_values_and_names_in_any_script_are_shown_as_they_are():
    base, other = entry("main", 0.5), entry("Größe", 0.6)
    other["data"]["params"]["params.yaml"]["data"]["sample"] |= {"convert": {"categories": ["Größe", "气球"]}}
    row = commit_rows(base | {"experiments": [{"revs": [other], "name": "Größe", "executor": None}]}, [])[1]
    assert row.name == "  Größe"
    assert 'convert.categories=["Größe", "气球"]' in row.note


def test_a_revision_that_dvc_can_not_read_says_so():
    broken = entry("old", None) | {"data": None, "error": {"msg": "dvc.yaml is invalid", "type": "YAMLSyntaxError"}}
    commits = commit_with((broken, None))
    assert commit_rows(commits[1], commits)[1].note == "not readable: dvc.yaml is invalid"


@pytest.mark.parametrize("width", [60, 100])
def test_lines_fit_the_terminal_and_nothing_is_cut(width):
    changes = {
        "epochs": 2,
        "batch_size": 1,
        "lr": 0.003,
        "optimizer": "sgd",
        "seed": 3,
        "weight_decay": 0.5,
        "workers": 0,
    }
    commits = commit_with((entry("many-changes", 0.25, **changes), None))
    lines = format_rows(commit_rows(commits[1], commits), width)
    assert max(map(len, lines)) <= width
    assert "  0.250  0.250  0.000  " in lines[2]
    assert all(f"train.{key}={value}" in " ".join(lines) for key, value in changes.items())


def test_outside_of_a_project_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["experiments"])
    assert result.exit_code == 1
    assert result.output.startswith(f"experiments: no dvc.yaml in {tmp_path} or above it; run this in a clone of")


@pytest.mark.slow
@pytest.mark.xdist_group("chain")
def test_a_sweep_is_a_short_table(sweep, rates):
    lines = sweep.run("viadet", "experiments").splitlines()
    assert max(map(len, lines)) <= 100
    assert re.match(r"experiment +AP +50 +75  params", lines[0])
    for name, rate in rates.items():
        (line,) = [line for line in lines if line.startswith(f"  {name} ")]
        changed = "" if rate == PARAMS["sample"]["train"]["lr"] else f"train.lr={rate}"  # the first is the commit's own
        assert re.fullmatch(rf"  {name} +([\d.]+ +){{2}}[\d.]+ *{re.escape(changed)}", line)


@pytest.mark.slow
@pytest.mark.xdist_group("chain")
def test_the_metrics_that_dvc_compares_by_are_few(sweep):
    commits = json.loads(sweep.run("dvc", "exp", "show", "--json"))
    names = [name for file in commits[0]["data"]["metrics"].values() for name in file["data"]]
    assert len(names) <= 30
