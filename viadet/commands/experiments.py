"""`viadet experiments`: a short table of the experiments, the params that differ, and AP."""

import json
import shutil
import textwrap
from typing import Any, NamedTuple

import click

from viadet.commands.programs import enter_project, read_output

METRICS = {"AP": "bbox_mAP", "50": "bbox_mAP_50", "75": "bbox_mAP_75"}
METRICS_PATH, PARAMS_PATH = "metrics/evaluate.json", "params.yaml"
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

    The params are compared with those of the commit that an experiment started from.

    \b
    Reads   metrics and params, as `dvc exp show --json` gives them
    Writes  nothing; it prints a table by commit, the best AP first

    \b
    Examples
      viadet experiments
      viadet experiments --all-commits
    """
    enter_project()
    commits = json.loads(read_output("dvc", "exp", "show", "--json", *(["--all-commits"] if all_commits else [])))
    width = min(MAX_WIDTH, shutil.get_terminal_size((MAX_WIDTH, 24)).columns)
    print("\n".join(format_rows([row for commit in commits for row in commit_rows(commit, commits)], width)))


def commit_rows(commit: dict, commits: list[dict]) -> list[Row]:
    """Make the row of a commit or the workspace, and below it those of its experiments, the best AP first.

    Args:
        commit: an entry of the JSON of `dvc exp show`.
        commits: all of them; the workspace, if it is among them, is the first and HEAD the second.
    """
    params = _params(commit)
    if commit["rev"] == "workspace":
        head = _params(commits[1]) if len(commits) > 1 else params
        return [Row("workspace", _metrics(commit), _note(commit, params, head))]
    short = commit["rev"][:7]
    name = short if commit["name"] in (None, commit["rev"]) else f"{short} {commit['name']}"
    rows = []
    for experiment in commit["experiments"] or []:
        entry = experiment["revs"][0]
        state = (experiment["executor"] or {}).get("state", "success")
        note = _note(entry, _params(entry), params)
        label = experiment["name"] or entry["rev"][:7]
        rows.append(Row(f"  {label}", _metrics(entry), note if state == "success" else f"({state}) {note}"))
    rows.sort(key=lambda row: row.metrics.get(METRICS["AP"], -1), reverse=True)
    return [Row(name, _metrics(commit), _note(commit, params, params)), *rows]


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
    first = max(len(row.name) for row in [*rows, Row("experiment", {}, "")])
    head = f"{'experiment':<{first}}" + "".join(f"{title:>7}" for title in METRICS) + "  params that differ"
    lines = [head]
    for row in rows:
        values = [row.metrics.get(metric) for metric in METRICS.values()]
        numbers = "".join(f"{'-' if value is None else format(value, '.3f'):>7}" for value in values)
        start = f"{row.name:<{first}}{numbers}  "
        notes = textwrap.wrap(row.note, max(width - len(start), 20), break_on_hyphens=False) or [""]
        lines += [(start + notes[0]).rstrip(), *(" " * len(start) + note for note in notes[1:])]
    return lines


def _note(entry: dict, params: dict, base: dict) -> str:
    error = entry.get("error")
    return f"not readable: {error.get('msg')}" if error else ", ".join(changed_params(params, base))


def _params(entry: dict) -> dict[str, Any]:
    return _data(entry, "params", PARAMS_PATH)


def _metrics(entry: dict) -> dict[str, float]:
    return _data(entry, "metrics", METRICS_PATH)


def _data(entry: dict, kind: str, path: str) -> dict[str, Any]:
    return (((entry.get("data") or {}).get(kind) or {}).get(path) or {}).get("data") or {}


def _flatten(table: dict, prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in table.items():
        values |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return values


def _format(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
