"""`viadet review`: two small trainings of DVC, and what it refuses."""

import csv
import json
import sys

import pytest
from click.testing import CliRunner
from projects import SMALL, Clone, set_param

from viadet.commands.app import main
from viadet.project.params import load_yaml
from viadet.sample.render import write_rendered_split

RECIPE = {key: value for key, value in SMALL.items() if not key.startswith("fetch.")}
RECIPE |= {"model.name": "tf_efficientdet_lite0", "train.augment.plain_epochs": 0, "evaluate.test_time": None}


@pytest.fixture
def clone(tmp_path):
    """A project with images of its own in data/own, which git tracks."""
    clone = Clone(tmp_path).with_identity()
    (clone.folder / "data/own").mkdir(parents=True)
    write_rendered_split(clone.folder / "data/own", 8, 128, (0, 0))
    params = load_yaml((clone.folder / "params.yaml").read_text(encoding="utf-8")) | {"recipe": "own"}
    for key, value in RECIPE.items():
        set_param(params["own"], key, value)
    (clone.folder / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
    clone.run("git", "add", "--all", "--force", "data/own", "params.yaml")
    clone.run("git", "commit", "--quiet", "--all", "-m", "own images")
    return clone


@pytest.mark.slow
def test_a_review_is_the_same_again_without_training_and_refuses_annotations_that_have_changed(clone):
    command = (sys.executable, "-m", "viadet", "review", "--folds", "2", "--least", "0")
    output = clone.run(*command)
    assert "each of the 2 networks is trained for 1 epoch; -S own.train.epochs=N changes that" in output
    names = ("suspects.csv", "suspects.html", "review.json")
    first, second = clone.folder / "review", clone.folder / "again"
    output = clone.run(*command, "--out", "again")
    assert "Running stage" not in output
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
    with (first / "suspects.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    project = json.loads((first / "review.json").read_text(encoding="utf-8"))
    entries = project["_via_img_metadata"].values()
    assert len(entries) == 8
    if rows:  # the worst one's image
        assert next(iter(entries))["filename"] == rows[0]["file_name"]
    suggested = [region for entry in entries for region in entry["regions"] if region["region_attributes"]["suspect"]]
    assert len(suggested) == len(rows)
    page = (first / "suspects.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == page.count("data:image/jpeg") == min(300, len(rows))

    path = clone.folder / "data/own/via_region_data.json"
    entries = json.loads(path.read_text(encoding="utf-8"))
    name = next(key for key, entry in entries.items() if entry["regions"])
    entries[name]["regions"] = []
    path.write_text(json.dumps(entries), encoding="utf-8")
    clone.run("git", "update-index", "--assume-unchanged", "data/own/via_region_data.json")
    error = clone.call(*command, "--out", "third")
    assert error.returncode == 1 and not (clone.folder / "third").exists()
    last = error.stderr.splitlines()[-1]
    assert "review: the annotations of 1 image (" in last and "dvc exp remove repeat-" in last


def test_what_is_in_the_folder_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "review").mkdir()
    (tmp_path / "review/corrected.json").write_text("{}", encoding="utf-8")
    result = CliRunner().invoke(main, ["review"])
    assert result.exit_code == 1
    assert "review exists and is not an empty folder; name another with --out, or delete it" in result.output


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--folds", "1"], "Invalid value for '--folds': 1 is not in the range"),
        (["--least", "2"], "Invalid value for '--least': 2.0 is not in the range"),
    ],
)
def test_params_out_of_range_are_told_in_one_line(arguments, error):
    result = CliRunner().invoke(main, ["review", *arguments])
    assert result.exit_code == 2
    assert result.output.splitlines()[-1].startswith(f"Error: {error}")
