"""`viadet repeat`: train with several seeds or over folds; the AP of each run, mean and standard deviation."""

import contextlib
import hashlib
import shlex
import shutil
from operator import attrgetter
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

import click

from viadet.commands.programs import check_identity, enter_project, read_output, run_visibly
from viadet.commands.revisions import outdated_outputs
from viadet.project.errors import UserError
from viadet.project.metric_names import AP_NAMES, EVALUATE_PATH


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
    check_identity()
    repetitions = plan_repetitions(
        checked_recipe_name(changes), seeds, folds, changes, read_output("git", "diff", "HEAD")
    )
    finished = read_output("dvc", "exp", "list", "--name-only").split()
    for experiment, params in repetitions.items():
        if experiment not in finished:
            options = [argument for param in params for argument in ("-S", param)]
            run_visibly("dvc", "exp", "run", "--temp", "-n", experiment, *options, "evaluate")
    outdated = outdated_outputs(repetitions, [EVALUATE_PATH])
    metrics = {name: {} if outdated[name] else metrics_show(EVALUATE_PATH, rev=name) for name in repetitions}
    print(markdown_table(metrics))


def checked_recipe_name(changes: tuple[str, ...]) -> str:
    """Apply changes to a copy of params.yaml as DVC will, and check the recipe that will run; its name.

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
                raise UserError(f"-S {change}: give KEY=VALUE, one value of a key in {PARAMS_PATH}") from None
        with contextlib.chdir(folder):
            name, recipe = read_recipe_name(), read_recipe()
    for key in ("fetch.source", "fetch.manifest", "model.init"):
        check_path(name, key, attrgetter(key)(recipe))
    return name


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
    """Name the experiment of each repetition, and the params that it changes, as KEY=VALUE.

    Other params or other code give other names; `uncommitted` is the output of `git diff HEAD`.
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

    COCO's AP is -1 where there are no objects of that size: such a value does not count in mean and deviation, nor
    does a repetition without metrics, which was not evaluated.
    """
    rows = [["", *AP_NAMES], ["---", *("---:" for _ in AP_NAMES)]]
    for name, metrics in metrics_by_name.items():
        rows.append([name, *(f"{metrics[metric]:.3f}" if metrics else "not evaluated" for metric in AP_NAMES)])
    evaluated = [metrics for metrics in metrics_by_name.values() if metrics]
    summary = [f"mean ± sd of {len(evaluated)}"]
    for metric in AP_NAMES:
        values = [metrics[metric] for metrics in evaluated if metrics[metric] >= 0]
        deviation = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
        summary.append(f"{mean(values):.3f}{deviation}" if values else "none")
    return "\n".join(f"| {' | '.join(row)} |" for row in [*rows, summary])
