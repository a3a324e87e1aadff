"""`viadet repeat`: train with several seeds, over folds, in pairs; the AP of each run, means and differences."""

import contextlib
import hashlib
import math
import shlex
import shutil
from operator import attrgetter
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from viadet.commands.programs import check_identity, enter_project, read_output, run_visibly
from viadet.commands.revisions import outdated_outputs
from viadet.project.errors import UserError
from viadet.project.metric_names import AP_NAMES, EVALUATE_PATH

if TYPE_CHECKING:
    from viadet.project.params import Recipe


@click.command()
@click.option("--seeds", type=click.IntRange(min=1), metavar="N", help="Train with the seeds 0 to N - 1.")
@click.option("--folds", type=click.IntRange(min=2), metavar="N", help="Cross-validate over N folds of all images.")
@click.option("-S", "changes", multiple=True, metavar="KEY=VALUE", help="Change a param, as in `dvc exp run -S`.")
@click.option(
    "--against",
    "other_changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Repeat all with this change, too, and give the differences of pairs.",
)
def repeat(seeds: int | None, folds: int | None, changes: tuple[str, ...], other_changes: tuple[str, ...]) -> None:
    """Repeat training with several seeds, over folds, or over folds with several seeds each.

    \b
    Reads   params.yaml and the code as they are now
    Writes  a DVC experiment for each repetition, run up to the stage evaluate
            in a folder of its own, with the files that git or DVC track: the
            workspace stays as it is

    It prints a Markdown table: the AP of each repetition, then mean and standard deviation. Repetitions that were
    run before, from the same commit with the same changes, are not run again. After an interruption, run the same
    command again: it continues in the repetition that was interrupted.

    With --against, each repetition has a partner with the same seed and fold, whose params differ in what --against
    changes. The last row is the mean of the differences, and its standard error: most of what a seed and a fold do to
    both is not in it. Below two standard errors a difference may be chance.

    \b
    Examples
      viadet repeat --seeds 3 -S recipe=sample
      viadet repeat --folds 5 -S balloon.train.epochs=60
      viadet repeat --folds 5 -S balloon.train.epochs=60 --against balloon.train.box_loss=huber
    """
    if seeds is None and folds is None:
        raise click.UsageError("give --seeds, --folds or both")
    from dvc.api import metrics_show

    enter_project()
    check_identity()
    compared = [changes, (*changes, *other_changes)] if other_changes else [changes]
    recipes = [checked_recipe(side)[0] for side in compared]
    uncommitted = read_output("git", "diff", "HEAD")
    sides = [
        plan_repetitions(recipe, seeds, folds, side, uncommitted)
        for recipe, side in zip(recipes, compared, strict=True)
    ]
    pairs = zip(*(side.items() for side in sides), strict=True)
    run_repetitions(dict(one for pair in pairs for one in pair))  # an interrupted command leaves whole pairs
    names = [name for side in sides for name in side]
    outdated = outdated_outputs(names, [EVALUATE_PATH])
    metrics = {name: {} if outdated[name] else metrics_show(EVALUATE_PATH, rev=name) for name in names}
    print(markdown_table([{name: metrics[name] for name in side} for side in sides]))


def run_repetitions(planned: dict[str, list[str]]) -> None:
    """Run the experiments, each with its params, one after the other, but not those that were run before.

    Raises:
        UserError: one fails.
    """
    finished = read_output("dvc", "exp", "list", "--name-only").split()
    for experiment, params in planned.items():
        if experiment not in finished:
            options = [argument for param in params for argument in ("-S", param)]
            run_visibly("dvc", "exp", "run", "--temp", "-n", experiment, *options, "evaluate")


def checked_recipe(changes: tuple[str, ...]) -> tuple[str, "Recipe"]:
    """Apply changes to a copy of params.yaml as DVC will, and check the recipe that will run; its name, and itself.

    Raises:
        UserError: a change that is not KEY=VALUE of a known key, no such recipe, or a value that is not allowed.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    from viadet.project.params import PARAMS_PATH, read_recipe, read_recipe_name

    read_recipe_name()  # the file is valid
    with TemporaryDirectory() as folder:
        copy = Path(shutil.copy(PARAMS_PATH, folder))
        for change in changes:
            try:
                apply_overrides(copy, [change])
            except DvcException:
                raise UserError(f"{change}: give KEY=VALUE, one value of a key in {PARAMS_PATH}") from None
        with contextlib.chdir(folder):
            name, recipe = read_recipe_name(), read_recipe()
    for key in ("fetch.source", "fetch.manifest", "model.init"):
        check_path(name, key, attrgetter(key)(recipe))
    return name, recipe


def check_path(recipe: str, key: str, value: str | None) -> None:
    """Refuse the relative path of files that DVC does not copy into the folder of a repetition.

    A link is copied if git tracks it; there it leads to the same files if its target is an absolute path.

    Raises:
        UserError: neither git nor DVC tracks such a file; names it.
    """
    path = Path(value or "")
    if not value or path.is_absolute() or not path.exists():
        return
    if any(Path(f"{part}.dvc").exists() for part in (path, *path.parents)):  # added by `dvc add`
        return
    link = next((part for part in (*reversed(path.parents), path) if part.is_symlink()), None)
    if link:
        untracked = [] if link.readlink().is_absolute() and read_output("git", "ls-files", "--", str(link)) else [link]
    elif path.resolve().is_relative_to(Path.cwd()):
        untracked = read_output("git", "ls-files", "--others", "--", value).splitlines()
    else:
        untracked = [value]
    if not untracked:
        return
    remedy = f"give the absolute path: -S {recipe}.{key}={path.resolve()}"
    folder = f"data/{recipe}"  # a dependency of the stage fetch: DVC wants it in the repetition's folder too
    if link and link.is_relative_to(folder):
        remedy = f"run `ln -sfn {shlex.quote(str(link.resolve()))} {link} && git add --force {link}`"
    elif path.is_relative_to(folder):
        remedy = f"run `dvc add {folder}` and `git add --force {folder}.dvc`"
    raise UserError(
        f"{recipe}.{key} is {value!r}, but git does not track {untracked[0]}: repetitions run in folders of their own "
        f"without untracked files; {remedy}"
    )


def plan_repetitions(
    recipe: str, seeds: int | None, folds: int | None, changes: tuple[str, ...], uncommitted: str
) -> dict[str, list[str]]:
    """Name the experiment of each repetition, and the params that it changes, as KEY=VALUE; fold by fold.

    Other params or other code give other names; `uncommitted` is the output of `git diff HEAD`.
    """
    state = "\n".join([uncommitted, *changes])
    prefix = f"repeat-{hashlib.sha256(state.encode(errors='surrogateescape')).hexdigest()[:8]}"
    planned = {prefix: list(changes)}
    if folds is not None:
        planned = {
            f"{name}-fold-{k}-of-{folds}": [*params, f"{recipe}.convert.folds={folds}", f"{recipe}.convert.fold={k}"]
            for name, params in planned.items()
            for k in range(folds)
        }
    if seeds is not None:
        planned = {
            f"{name}-seed-{seed}": [*params, f"{recipe}.train.seed={seed}"]
            for name, params in planned.items()
            for seed in range(seeds)
        }
    return planned


def markdown_table(sides: list[dict[str, dict[str, float]]]) -> str:
    """Format the metrics of repetitions by name as a Markdown table; of two sides, the pairs are in the same order.

    Each side has a row for each repetition, then mean and sample standard deviation (n - 1). Of two sides, the last row
    has the mean of the differences, first side less second, and its standard error. COCO's AP is -1 where there are no
    objects of that size: such a value does not count, nor does a repetition without metrics, which was not evaluated,
    nor, in a difference, its partner.
    """
    rows = [["", *AP_NAMES], ["---", *("---:" for _ in AP_NAMES)]]
    for side in sides:
        for name, metrics in side.items():
            rows.append([name, *(f"{metrics[metric]:.3f}" if metrics else "not evaluated" for metric in AP_NAMES)])
        evaluated = [metrics for metrics in side.values() if metrics]
        rows.append([f"mean ± sd of {len(evaluated)}", *(mean_and_deviation(evaluated, name) for name in AP_NAMES)])
    if len(sides) == 2:
        pairs = [pair for pair in zip(*(side.values() for side in sides), strict=True) if all(pair)]
        cells = [mean_difference(pairs, name) for name in AP_NAMES]
        rows.append([f"difference ± standard error of {len(pairs)} pairs", *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def mean_and_deviation(evaluated: list[dict[str, float]], metric: str) -> str:
    """Format mean and sample standard deviation of a metric over repetitions, without those that have none."""
    values = [metrics[metric] for metrics in evaluated if metrics[metric] >= 0]
    deviation = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f}{deviation}" if values else "none"


def mean_difference(pairs: list[tuple[dict[str, float], ...]], metric: str) -> str:
    """Format the mean of a metric's differences, first less second, and its standard error over pairs."""
    values = [first[metric] - second[metric] for first, second in pairs if min(first[metric], second[metric]) >= 0]
    error = f" ± {stdev(values) / math.sqrt(len(values)):.3f}" if len(values) > 1 else ""
    return f"{mean(values):+.3f}{error}" if values else "none"
