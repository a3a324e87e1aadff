"""`viadet experiments`: a short table of the experiments, the params that differ, and AP."""

import json
import shutil
import textwrap
from typing import Any, NamedTuple

import click

from viadet.commands.programs import enter_project, read_output
from viadet.commands.revisions import outdated_outputs
from viadet.project.metric_names import AP, AP_50, AP_75, EVALUATE_PATH

METRICS = {"AP": AP, "50": AP_50, "75": AP_75}
PARAMS_PATH = "params.yaml"
MAX_WIDTH = 100  # columns; a narrower terminal makes narrower lines


class Row(NamedTuple):
    """A line of the table; a long note takes more than one."""

    name: str
    metrics: dict[str, float]
    note: str


@click.command()
@click.option("-A", "--all-commits", is_flag=True, help="Experiments from all commits, not only from HEAD.")
def experiments(all_commits: bool) -> None:
    """List experiments, their AP, and the params that differ.

    The params are compared with those of the commit that an experiment started from. Where DVC would run `evaluate`
    again, as it has not run with these params and this code, the AP would be another run's: "not evaluated".

    \b
    Reads   metrics and params, as `dvc exp show --json` gives them, and dvc.lock
    Writes  nothing; it prints a table by commit, the best AP first

    \b
    Examples
      viadet experiments
      viadet experiments --all-commits
    """
    enter_project()
    options = ["--all-commits"] if all_commits else []
    commits = json.loads(read_output("dvc", "exp", "show", "--json", *options))
    drop_metrics_of_other_runs(commits)
    rows = [row for commit in commits for row in commit_rows(commit, commits)]
    width = min(MAX_WIDTH, shutil.get_terminal_size((MAX_WIDTH, 24)).columns)
    print("\n".join(format_rows(rows, width)))


def drop_metrics_of_other_runs(commits: list[dict]) -> None:
    """Take the evaluation's metrics from revisions that were not evaluated: they are those of an earlier run.

    `commits` is the JSON of `dvc exp show`, changed in place: such a revision gets a mark.
    """
    entries = [*commits, *(experiment["revs"][0] for commit in commits for experiment in commit["experiments"] or [])]
    evaluated = [entry for entry in entries if _data(entry, "metrics", EVALUATE_PATH)]
    outdated = outdated_outputs({entry["rev"] for entry in evaluated}, [EVALUATE_PATH])
    for entry in evaluated:
        if EVALUATE_PATH in outdated[entry["rev"]]:
            del entry["data"]["metrics"][EVALUATE_PATH]
            entry["not_evaluated"] = True


def commit_rows(commit: dict, commits: list[dict]) -> list[Row]:
    """Make the row of a commit or the workspace, and below it those of its experiments, the best AP first.

    Both arguments are of the JSON of `dvc exp show`, in which the workspace is the first and HEAD the second.
    """
    if commit["rev"] == "workspace":
        return [make_row("workspace", commit, commits[1] if len(commits) > 1 else commit)]
    short = commit["rev"][:7]
    name = short if commit["name"] in (None, commit["rev"]) else f"{short} {commit['name']}"
    rows = []
    for experiment in commit["experiments"] or []:
        entry = experiment["revs"][0]
        state = (experiment["executor"] or {}).get("state", "success")
        label = experiment["name"] or entry["rev"][:7]
        rows.append(make_row(f"  {label}", entry, commit, "" if state == "success" else state))
    rows.sort(key=lambda row: row.metrics.get(AP, -1), reverse=True)
    return [make_row(name, commit, commit), *rows]


def make_row(name: str, entry: dict, base: dict, state: str = "") -> Row:
    """Make a row; its note has the state and the params that differ from those of `base`, or why there are none."""
    state = state or ("not evaluated" if entry.get("not_evaluated") else "")
    if error := entry.get("error"):
        note = f"not readable: {error.get('msg')}"
    else:
        note = ", ".join(changed_params(_data(entry, "params", PARAMS_PATH), _data(base, "params", PARAMS_PATH)))
    return Row(name, _data(entry, "metrics", EVALUATE_PATH), f"({state}) {note}" if state else note)


def changed_params(params: dict, base: dict) -> list[str]:
    """List params as KEY=VALUE where they differ from those of `base`.

    Only the params of the recipe that runs count, without its name, and all its params are compared with those of the
    same recipe in `base`.
    """
    recipe = params.get("recipe")
    new, old = (_flatten(table.get(recipe) or {}) for table in (params, base))
    changes = [f"recipe={recipe}"] if recipe != base.get("recipe") else []
    return changes + [f"{key}={_format(value)}" for key, value in new.items() if key not in old or old[key] != value]


def format_rows(rows: list[Row], width: int) -> list[str]:
    """Align the rows in lines of at most `width` columns, the notes wrapped; longer only if a name is."""
    first = max(len(name) for name in ["experiment", *(row.name for row in rows)])
    titles = "".join(f"{title:>7}" for title in METRICS)
    lines = [f"{'experiment':<{first}}{titles}  params that differ"]
    for row in rows:
        cells = [f"{row.metrics[name]:>7.3f}" if name in row.metrics else f"{'-':>7}" for name in METRICS.values()]
        start = f"{row.name:<{first}}{''.join(cells)}  "
        wrapper = textwrap.TextWrapper(max(width, len(start) + 20), start, " " * len(start), break_on_hyphens=False)
        lines += [line.rstrip() for line in wrapper.wrap(row.note) or [start]]
    return lines


def _data(entry: dict, kind: str, path: str) -> dict[str, Any]:
    return (((entry.get("data") or {}).get(kind) or {}).get(path) or {}).get("data") or {}


def _flatten(table: dict, prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in table.items():
        values |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return values


def _format(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
