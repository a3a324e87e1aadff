"""Repetitions over seeds and folds."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from projects import running_stages, write_params

from viadet.commands.app import main
from viadet.commands.programs import check_identity
from viadet.commands.repeat import check_path, markdown_table, plan_repetitions
from viadet.project.errors import UserError
from viadet.project.metric_names import AP_NAMES
from viadet.project.params import read_recipe


def test_the_table_gives_mean_and_standard_deviation_and_leaves_out_what_has_no_meaning():
    metrics = {
        "a": dict.fromkeys(AP_NAMES, 0.2) | {"bbox_mAP_s": -1.0},
        "b": dict.fromkeys(AP_NAMES, 0.4) | {"bbox_mAP_s": -1.0},
        "c": dict.fromkeys(AP_NAMES, 0.6) | {"bbox_mAP_s": 0.5},
    }
    *_, last = markdown_table([metrics]).splitlines()
    cells = [cell.strip() for cell in last.strip("|").split("|")]
    assert cells[0] == "mean ± sd of 3"
    assert cells[1] == "0.400 ± 0.200"
    assert cells[1 + AP_NAMES.index("bbox_mAP_s")] == "0.500"
    *_, row, last = markdown_table([metrics | {"d": {}}]).splitlines()  # not evaluated
    assert row.startswith("| d | not evaluated |")
    assert last.startswith("| mean ± sd of 3 | 0.400 ± 0.200 |")


def test_pairs_give_the_mean_difference_and_its_standard_error():
    """With 0.3, 0.5, 0.7 against 0.2, 0.5, 0.4: differences of 0.1, 0, 0.3, whose standard deviation is 0.1528."""
    first, second = (
        {
            f"{name}{number}": dict.fromkeys(AP_NAMES, ap) | {"bbox_mAP_s": small}
            for number, (ap, small) in enumerate(aps)
        }
        for name, aps in (("a", [(0.3, 0.2), (0.5, -1.0), (0.7, 0.2)]), ("b", [(0.2, 0.1), (0.5, 0.1), (0.4, -1.0)]))
    )
    lines = markdown_table([first, second]).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        *("| a0", "| a1", "| a2", "| mean ± sd of 3", "| b0", "| b1", "| b2", "| mean ± sd of 3"),
        "| difference ± standard error of 3 pairs",
    ]
    cells = lines[-1].strip("| ").split(" | ")
    assert cells[1] == "+0.133 ± 0.088"
    assert cells[1 + AP_NAMES.index("bbox_mAP_s")] == "+0.100"  # of the only pair in which both have small objects
    *_, last = markdown_table([first | {"a0": {}}, second]).splitlines()  # not evaluated
    assert last.startswith("| difference ± standard error of 2 pairs | +0.150 ± 0.150 |")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "give --seeds, --folds or both"),
        (["--seeds", "0"], "Invalid value for '--seeds': 0 is not in the range"),
        (["--folds", "1"], "Invalid value for '--folds': 1 is not in the range"),
    ],
)
def test_seeds_or_folds_are_given_and_enough_of_them(arguments, error):
    result = CliRunner().invoke(main, ["repeat", *arguments])
    assert result.exit_code == 2
    assert result.output.splitlines()[-1].startswith(f"Error: {error}")


def test_names_tell_params_and_code_apart_and_stay_the_same_for_the_same():
    names = list(plan_repetitions("sample", 2, None, ("recipe=sample",), ""))
    assert names == ["repeat-2e6f2d33-seed-0", "repeat-2e6f2d33-seed-1"]  # finished experiments are known by them
    others = [
        *plan_repetitions("sample", 2, None, ("recipe=sample", "sample.train.epochs=3"), ""),
        *plan_repetitions("sample", 2, None, ("recipe=sample",), "diff --git a/params.yaml b/params.yaml"),
        *plan_repetitions("sample", None, 2, ("recipe=sample",), ""),
    ]
    assert len({*names, *others}) == 8


def test_each_repetition_sets_its_seed_or_fold_last(project):
    def recipes(seeds, folds):
        for params in plan_repetitions(
            "sample", seeds, folds, ("sample.train.seed=7", "sample.train.epochs=3"), ""
        ).values():
            assert params[:2] == ["sample.train.seed=7", "sample.train.epochs=3"]
            pairs = (param.removeprefix("sample.").split("=") for param in params)
            write_params({key: int(value) for key, value in pairs})  # in order: the last value of a key counts
            yield read_recipe()

    assert [recipe.train.seed for recipe in recipes(2, None)] == [0, 1]
    assert [(recipe.convert.folds, recipe.convert.fold) for recipe in recipes(None, 3)] == [(3, 0), (3, 1), (3, 2)]
    both = [(recipe.convert.fold, recipe.train.seed) for recipe in recipes(2, 2)]
    assert both == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_diff_that_is_no_utf8_tells_code_apart_too():
    diffs = [raw.decode(errors="surrogateescape") for raw in (b"\xff", b"\xfe")]
    names = [name for diff in diffs for name in plan_repetitions("sample", 1, None, (), diff)]
    assert len(set(names)) == 2


@pytest.fixture
def tracked(project):
    """The small project in git, with one tracked and one untracked folder; the current folder is below its root."""
    for name in ("tracked", "mine"):
        Path(name).mkdir()
        Path(name, "via.json").touch()
    Path("dvc.yaml").touch()
    Path("below").mkdir()
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run(["git", "config", "user.name", "T"], check=True)
    subprocess.run(["git", "config", "user.email", "t@example.org"], check=True)
    subprocess.run(["git", "add", "tracked", "params.yaml"], check=True)
    os.chdir("below")
    yield project
    os.chdir(project)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("recipe=samples", "params.yaml: recipe is 'samples', allowed is one of balloon, "),
        ("sample.train.lr=abc", "params.yaml: sample.train.lr is 'abc': input should be a valid number"),
        ("sample.train.rate=1", "sample.train.rate=1: give KEY=VALUE, one value of a key in params.yaml"),
        ("sample.train.lr=1,2", "sample.train.lr=1,2: give KEY=VALUE, one value of a key in params.yaml"),
        (
            "sample.model.init=mine/via.json",
            "sample.model.init is 'mine/via.json', but git does not track mine/via.json:",
        ),
        ("sample.fetch.manifest=mine/via.json", "sample.fetch.manifest is 'mine/via.json', but git does not track "),
    ],
)
def test_what_can_not_be_repeated_is_refused_before_any_work(tracked, change, error):
    before = (tracked / "params.yaml").read_bytes()
    result = CliRunner().invoke(main, ["repeat", "--seeds", "1", "-S", change])
    assert result.exit_code == 1
    assert result.output.startswith(f"repeat: {error}")
    assert result.output.count("\n") == 1
    assert (tracked / "params.yaml").read_bytes() == before


@pytest.mark.parametrize("path", ["tracked", "tracked/via.json", "nowhere", "/etc", ""])
def test_tracked_files_and_absolute_paths_can_be_repeated(tracked, monkeypatch, path):
    monkeypatch.chdir(tracked)
    check_path("sample", "fetch.source", path)


def test_a_folder_that_dvc_tracks_can_be_repeated(tracked, monkeypatch):
    monkeypatch.chdir(tracked)
    Path("mine.dvc").touch()
    check_path("sample", "fetch.source", "mine")
    Path("mine.dvc").unlink()
    with pytest.raises(UserError, match=r"give the absolute path: -S sample\.fetch\.source=.*mine$"):
        check_path("sample", "fetch.source", "mine")


def test_the_folder_of_the_recipe_is_to_be_added_to_dvc(tracked, monkeypatch):
    monkeypatch.chdir(tracked)
    Path("data/own").mkdir(parents=True)
    Path("data/own/via.json").touch()
    with pytest.raises(UserError, match=r"run `dvc add data/own` and `git add --force data/own\.dvc`$"):
        check_path("own", "fetch.source", "data/own")


@pytest.mark.needs("symlinks")
@pytest.mark.parametrize("target", ["../mine", "absolute"])
def test_the_advice_for_a_linked_folder_of_the_recipe_works(tracked, monkeypatch, target):
    monkeypatch.chdir(tracked)
    Path("data").mkdir()
    Path("data/.gitignore").write_text("/own\n", encoding="utf-8")  # as in this repository
    Path("data/own").symlink_to(tracked / "mine" if target == "absolute" else target)
    if target != "absolute":  # tracked, it would lead nowhere in a repetition's folder
        subprocess.run(["git", "add", "--force", "data/own"], check=True)
    with pytest.raises(UserError, match=r"git does not track data/own: .*; run `ln -sfn \S+ data/own && ") as raised:
        check_path("own", "fetch.source", "data/own")
    subprocess.run(re.search("`(.+)`", str(raised.value))[1], shell=True, check=True)
    check_path("own", "fetch.source", "data/own")
    check_path("own", "model.init", "data/own/via.json")
    assert Path("data/own").readlink() == tracked / "mine"


def test_without_a_name_in_git_the_commands_that_tell_it_are_named_and_work(tracked, monkeypatch):
    for variable in ("EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.delenv(variable, raising=False)
    subprocess.run(["git", "config", "--remove-section", "user"], check=True)
    monkeypatch.setenv("HOME", str(tracked))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tracked))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tracked / "gitconfig"))
    result = CliRunner().invoke(main, ["repeat", "--seeds", "1"])
    assert result.exit_code == 1
    assert result.output.startswith("repeat: git does not know your name and e-mail address, ")
    for command in re.findall("`(.+?)`", result.output):
        subprocess.run(shlex.split(command), check=True)
    check_identity()


def test_without_git_there_is_one_line(tracked, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    result = CliRunner().invoke(main, ["repeat", "--seeds", "1"])
    assert result.exit_code == 1
    assert result.output == "repeat: git is missing; install it, or add its folder to PATH\n"


@pytest.mark.slow
@pytest.mark.xdist_group("chain")
def test_repetitions_are_run_once_and_leave_the_workspace_as_it_is(finished_clone, tmp_path):
    clone = finished_clone.copy_to(tmp_path / "clone").with_identity()

    def run():
        output = clone.run(
            sys.executable, "-m", "viadet", "repeat", "--seeds", "1", "--against", "sample.train.lr=0.03"
        )
        return output, re.findall(r"^\| (?:repeat\S+|mean|difference).*$", output, re.M)

    changes, model = clone.run("git", "diff"), clone.folder / "data/model/model.safetensors"
    weights = model.read_bytes()
    first, table = run()
    assert running_stages(first) == ["train", "evaluate"]  # of the partner, as the finished run is the first one's
    assert len(table) == 5
    assert table[0].split("|")[2:] != table[2].split("|")[2:]
    aps = [float(row.split("|")[2]) for row in (table[0], table[2], table[4])]
    assert aps[2] == pytest.approx(aps[0] - aps[1], abs=0.0011)
    assert (clone.run("git", "diff"), model.read_bytes()) == (changes, weights)

    again, same_table = run()
    assert same_table == table
    assert running_stages(again) == []
