"""`viadet repeat`: train with several seeds or over folds; the AP of each run, mean and standard deviation."""

import contextlib
import hashlib
import shutil
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

import click

from viadet.commands.programs import enter_project, read_output, run_visibly
from viadet.project.errors import UserError

METRICS = ("bbox_mAP", "bbox_mAP_50", "bbox_mAP_75", "bbox_mAP_s", "bbox_mAP_m", "bbox_mAP_l")
METRICS_PATH = "metrics/evaluate.json"


@click.command()
@click.option("--seeds", type=click.IntRange(min=1), metavar="N", help="Train with the seeds 0 to N - 1.")
@click.option("--folds", type=click.IntRange(min=2), metavar="N", help="Cross-validate over N folds of all images.")
@click.option("-S", "changes", multiple=True, metavar="KEY=VALUE", help="Change a param, as in `dvc exp run -S`.")
def repeat(seeds: int | None, folds: int | None, changes: tuple[str, ...]) -> None:
    """Repeat training with several seeds or over folds.

    \b
    Reads   params.yaml and the code as they are now
    Writes  a DVC experiment for each repetition, run up to the stage evaluate
            in a folder of its own, with the files that git or DVC track: the
            workspace stays as it is

    It prints a Markdown table: the AP of each repetition, then mean and standard deviation. Repetitions that were
    run before, from the same commit with the same changes, are not run again. After an interruption, run the same
    command again: it continues in the repetition that was interrupted.

    \b
    Examples
      viadet repeat --seeds 3 -S recipe=sample
      viadet repeat --folds 5 -S balloon.train.epochs=60
    """
    if (seeds is None) == (folds is None):
        raise click.UsageError("give either --seeds or --folds")
    from dvc.api import metrics_show

    enter_project()
    name, paths = recipe_after(changes)
    check_paths(name, paths)
    repetitions = plan_repetitions(name, seeds, folds, changes, read_output("git", "diff", "HEAD"))
    finished = read_output("dvc", "exp", "list", "--name-only").split()
    for experiment, params in repetitions.items():
        if experiment not in finished:
            options = [argument for param in params for argument in ("-S", param)]
            run_visibly("dvc", "exp", "run", "--temp", "-n", experiment, *options, "evaluate")
    print(markdown_table({name: metrics_show(METRICS_PATH, rev=name) for name in repetitions}))


def recipe_after(changes: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Apply changes to a copy of params.yaml as DVC will, and check the recipe.

    Returns:
        The recipe's name, and the values of its params that may be paths, by key.

    Raises:
        UserError: a change that is not KEY=VALUE of a known key, no such recipe, or a value that is not allowed.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    from viadet.project.params import PARAMS_PATH, read_recipe, read_recipe_name

    with TemporaryDirectory() as folder:
        shutil.copy(PARAMS_PATH, folder)
        with contextlib.chdir(folder):
            read_recipe_name()  # the file is valid
            for change in changes:
                try:
                    apply_overrides(PARAMS_PATH, [change])
                except DvcException:
                    raise UserError(f"-S {change}: give KEY=VALUE, one value of a key in {PARAMS_PATH}") from None
            name, recipe = read_recipe_name(), read_recipe()
    paths = {"fetch.source": recipe.fetch.source, "fetch.manifest": recipe.fetch.manifest or ""}
    return name, paths | {"model.init": recipe.model.init}


def check_paths(recipe: str, paths: dict[str, str]) -> None:
    """Refuse relative paths of files that DVC does not copy into the folder of a repetition.

    Args:
        recipe: name.
        paths: values of params that may be paths, by key.

    Raises:
        UserError: neither git nor DVC tracks such a file; names it.
    """
    for key, value in paths.items():
        path = Path(value)
        if not value or path.is_absolute() or not path.exists():
            continue
        if any(Path(f"{part}.dvc").exists() for part in (path, *path.parents)):  # added by `dvc add`
            continue
        inside = path.resolve().is_relative_to(Path.cwd())
        untracked = read_output("git", "ls-files", "--others", "--", value).splitlines() if inside else [value]
        if untracked:
            folder = Path(
                "data", recipe
            )  # a dependency of the stage fetch: DVC wants it in the repetition's folder too
            remedy = f"give the absolute path: -S {recipe}.{key}={path.resolve()}"
            if path.is_relative_to(folder):
                remedy = f"run `dvc add {folder.as_posix()}` and `git add {folder.as_posix()}.dvc data/.gitignore`"
            raise UserError(
                f"{recipe}.{key} is {value!r}, but git does not track {untracked[0]}: repetitions run in folders of "
                f"their own without untracked files; {remedy}"
            )


def plan_repetitions(
    recipe: str, seeds: int | None, folds: int | None, changes: tuple[str, ...], uncommitted: str
) -> dict[str, list[str]]:
    """Name the experiment of each repetition; other params or other code give other names.

    Args:
        recipe: whose seed or folds are set.
        seeds: their number, or None.
        folds: their number, if seeds is None.
        changes: params as KEY=VALUE, the same in all repetitions.
        uncommitted: the output of `git diff HEAD`.

    Returns:
        The params that each experiment changes, as KEY=VALUE, by its name.
    """
    state = "\n".join([uncommitted, *changes])
    prefix = f"repeat-{hashlib.sha256(state.encode(errors='surrogateescape')).hexdigest()[:8]}"
    if seeds is not None:
        return {f"{prefix}-seed-{seed}": [*changes, f"{recipe}.train.seed={seed}"] for seed in range(seeds)}
    return {
        f"{prefix}-fold-{k}-of-{folds}": [*changes, f"{recipe}.convert.folds={folds}", f"{recipe}.convert.fold={k}"]
        for k in range(folds or 0)
    }


def markdown_table(metrics_by_name: dict[str, dict[str, float]]) -> str:
    """Format metrics as a Markdown table: a row for each repetition, then mean and sample standard deviation (n - 1).

    COCO's AP is -1 where there are no objects of that size: such a value does not count in mean and deviation.
    """
    rows = [["", *METRICS], ["---", *("---:" for _ in METRICS)]]
    rows += [[name, *(f"{metrics[metric]:.3f}" for metric in METRICS)] for name, metrics in metrics_by_name.items()]
    rows.append([f"mean ± sd of {len(metrics_by_name)}"])
    for metric in METRICS:
        values = [metrics[metric] for metrics in metrics_by_name.values() if metrics[metric] >= 0]
        deviation = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
        rows[-1].append(f"{mean(values):.3f}{deviation}" if values else "none")
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
