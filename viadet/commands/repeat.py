"""`viadet repeat`: train with several seeds or over folds; the AP of each run, mean and standard deviation."""

import hashlib
import subprocess
import sys
from statistics import mean, stdev

import click

from viadet.project.errors import UserError

METRICS = ("bbox_mAP", "bbox_mAP_50", "bbox_mAP_75", "bbox_mAP_s", "bbox_mAP_m", "bbox_mAP_l")
METRICS_PATH = "metrics/evaluate.json"
PROGRAMS = {"git": ["git"], "dvc": [sys.executable, "-m", "dvc"]}  # DVC need not be on PATH


@click.command()
@click.option("--seeds", type=click.IntRange(min=1), metavar="N", help="Train with the seeds 0 to N - 1.")
@click.option("--folds", type=click.IntRange(min=2), metavar="N", help="Cross-validate over N folds of all images.")
@click.option("-S", "changes", multiple=True, metavar="KEY=VALUE", help="Change a param, as in `dvc exp run -S`.")
def repeat(seeds: int | None, folds: int | None, changes: tuple[str, ...]) -> None:
    """Repeat training with several seeds or over folds.

    \b
    Reads   params.yaml and the code as they are now
    Writes  a DVC experiment for each repetition, run up to the stage evaluate
            in a folder of its own: the workspace stays as it is

    It prints a Markdown table: the AP of each repetition, then mean and standard deviation. Repetitions that were
    run before, from the same commit with the same changes, are not run again.

    \b
    Examples
      viadet repeat --seeds 3 -S recipe=sample
      viadet repeat --folds 5 -S balloon.train.epochs=60
    """
    if (seeds is None) == (folds is None):
        raise click.UsageError("give either --seeds or --folds")
    from dvc.api import metrics_show

    from viadet.project.params import read_recipe_name

    recipes = [change.partition("=")[2] for change in changes if change.startswith("recipe=")]
    recipe = recipes[-1] if recipes else read_recipe_name()
    repetitions = plan_repetitions(recipe, seeds, folds, changes, run_command("git", "diff", "HEAD"))
    finished = run_command("dvc", "exp", "list", "--name-only").split()
    for name, params in repetitions.items():
        if name not in finished:
            options = [argument for param in params for argument in ("-S", param)]
            run_command("dvc", "exp", "run", "--temp", "-n", name, *options, "evaluate", show_output=True)
    print(markdown_table({name: metrics_show(METRICS_PATH, rev=name) for name in repetitions}))


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
    prefix = f"repeat-{hashlib.sha256(state.encode()).hexdigest()[:8]}"
    if seeds is not None:
        return {f"{prefix}-seed-{seed}": [*changes, f"{recipe}.train.seed={seed}"] for seed in range(seeds)}
    return {
        f"{prefix}-fold-{k}-of-{folds}": [*changes, f"{recipe}.convert.folds={folds}", f"{recipe}.convert.fold={k}"]
        for k in range(folds or 0)
    }


def run_command(program: str, *arguments: str, show_output: bool = False) -> str:
    """Run git or dvc and return its standard output, empty if that is shown while the program runs.

    Raises:
        UserError: the program fails; its error messages are on the terminal.
    """
    output = None if show_output else subprocess.PIPE
    result = subprocess.run([*PROGRAMS[program], *arguments], stdout=output, text=True, check=False)
    if result.returncode:
        raise UserError(f"`{' '.join((program, *arguments))}` failed; its error messages are above")
    return result.stdout or ""


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
