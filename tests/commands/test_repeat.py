"""Repetitions over seeds and folds in a clone of the working tree."""

import re

import pytest
from projects import Clone, small_changes

from viadet.commands import repeat
from viadet.project.errors import UserError


def test_the_table_gives_mean_and_standard_deviation_and_leaves_out_what_has_no_meaning():
    figures = {
        "a": dict.fromkeys(repeat.METRICS, 0.2) | {"bbox_mAP_s": -1.0},
        "b": dict.fromkeys(repeat.METRICS, 0.4) | {"bbox_mAP_s": -1.0},
        "c": dict.fromkeys(repeat.METRICS, 0.6) | {"bbox_mAP_s": 0.5},
    }
    *_, last = repeat.markdown_table(figures).splitlines()
    cells = [cell.strip() for cell in last.strip("|").split("|")]
    assert cells[0] == "mean ± sd of 3"
    assert cells[1] == "0.400 ± 0.200"
    assert cells[1 + repeat.METRICS.index("bbox_mAP_s")] == "0.500"


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--folds", "-1"]])
def test_a_number_below_1_is_an_error(arguments):
    with pytest.raises(UserError, match="above 0"):
        repeat.main(arguments)


def test_seeds_and_folds_are_run_once_and_leave_the_workspace_alone(tmp_path):
    clone = Clone(tmp_path)
    settings = ["-S", "recipe=sample", *small_changes()]

    def figures(*arguments):
        output = clone.run("python", "-m", "stages.repeat", *arguments, *settings)
        return output, re.findall(r"^\| (?:repeat\S+|mean).*$", output, re.M)

    first, table = figures("--seeds", "2")
    assert len(table) == 3
    assert table[0].split("|")[2:] != table[1].split("|")[2:]
    assert first.count("Running stage 'train'") == 2
    assert clone.run("git", "status", "--porcelain") == ""
    assert not (clone.folder / "data/model").exists()
    again, same = figures("--seeds", "2")
    assert same == table
    assert "Running stage" not in again

    output, table = figures("--folds", "2")
    assert len(table) == 3
    # 9 images in two folds: 5 and 4 validate
    assert sorted(re.findall(r"val: (\d+) images", output)) == ["4", "5"]
