"""Repeat an experiment over seeds or folds, and tell the mean and spread of its AP. No stage: nothing depends on it.

Reads   params.yaml and the code as they are now
Writes  an experiment of DVC for each repetition, run up to evaluate in a folder of its own: the workspace stays
Run     python -m stages.repeat --seeds 3 [-S balloon.train.epochs=60 ...]
        python -m stages.repeat --folds 5 [-S ...]; -S as in `dvc exp run`
        What has been run before, from the same commit and changes, is not run again.
"""

import argparse
import hashlib
import subprocess
from statistics import mean, stdev

from dvc.api import metrics_show

from viadet.project.errors import UserError
from viadet.project.params import read_recipe_name

METRICS = ("bbox_mAP", "bbox_mAP_50", "bbox_mAP_75", "bbox_mAP_s", "bbox_mAP_m", "bbox_mAP_l")
METRICS_PATH = "metrics/evaluate.json"


def run_command(*command: str, shown: bool = False) -> str:
    """Run a command of git or DVC; its output is given back, or shown while it runs.

    Raises:
        UserError: it fails.
    """
    result = subprocess.run(command, stdout=None if shown else subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise UserError(f"`{' '.join(command)}` failed; what it said is above")
    return result.stdout or ""


def repetitions(recipe: str, seeds: int | None, folds: int | None, changes: list[str]) -> dict[str, list[str]]:
    """Name each repetition, with the params it changes.

    A name tells repetitions of other params or code apart, even before they are committed.
    """
    now = "\n".join([run_command("git", "diff", "HEAD"), *changes])
    name = f"repeat-{hashlib.sha256(now.encode()).hexdigest()[:8]}"
    if seeds is not None:
        return {f"{name}-seed-{seed}": [*changes, f"{recipe}.train.seed={seed}"] for seed in range(seeds)}
    return {
        f"{name}-fold-{fold}-of-{folds}": [*changes, f"{recipe}.convert.folds={folds}", f"{recipe}.convert.fold={fold}"]
        for fold in range(folds or 0)
    }


def markdown_table(figures: dict[str, dict[str, float]]) -> str:
    """Lay the figures out as a Markdown markdown_table: a row a repetition, then mean and standard deviation (n - 1).

    A figure that has no meaning, as there is no object of that size, is left out of both.
    """
    rows = [["", *METRICS], ["---", *("---:" for _ in METRICS)]]
    rows += [[name, *(f"{own[metric]:.3f}" for metric in METRICS)] for name, own in figures.items()]
    summary = []
    for metric in METRICS:
        values = [own[metric] for own in figures.values() if own[metric] >= 0]
        spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
        summary.append(f"{mean(values):.3f}{spread}" if values else "none")
    rows.append([f"mean ± sd of {len(figures)}", *summary])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(arguments: list[str] | None = None) -> None:
    """Run what has not been run yet, print the markdown_table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    over = parser.add_mutually_exclusive_group(required=True)
    over.add_argument("--seeds", type=int, help="train with so many seeds, from 0 on")
    over.add_argument("--folds", type=int, help="cross-validate over so many folds of all images")
    parser.add_argument("-S", action="append", default=[], dest="changes", metavar="KEY=VALUE", help="change a param")
    options = parser.parse_args(arguments)
    if (options.seeds or options.folds or 0) < 1:
        raise UserError("--seeds and --folds take a number above 0")
    recipes = [change.partition("=")[2] for change in options.changes if change.startswith("recipe=")]
    recipe = recipes[-1] if recipes else read_recipe_name()
    runs = repetitions(recipe, options.seeds, options.folds, options.changes)
    known = run_command("dvc", "exp", "list", "--name-only").split()
    for name, changes in runs.items():
        if name not in known:
            settings = [argument for change in changes for argument in ("-S", change)]
            run_command("dvc", "exp", "run", "--temp", "-n", name, *settings, "evaluate", shown=True)
    print(markdown_table({name: metrics_show(METRICS_PATH, rev=name) for name in runs}))
