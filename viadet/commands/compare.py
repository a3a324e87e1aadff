"""`viadet compare`: what differs between two revisions, on one HTML page."""

import json
import subprocess
import tempfile
from pathlib import Path, PurePosixPath

import click

from viadet.commands.programs import enter_project, read_output
from viadet.commands.revisions import outdated_outputs
from viadet.project.errors import UserError
from viadet.project.files import replaced_file


@click.command()
@click.argument("old", default="HEAD")
@click.argument("new", default="workspace")
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, resolve_path=True, path_type=Path),
    help="The page.  [default: comparison.html in the project's root]",
)
def compare(old: str, new: str, out: Path | None) -> None:
    """Compare two revisions on one HTML page.

    OLD and NEW are commits, branches, tags or experiments, or `workspace` for the files as they are now. Without
    them, HEAD is compared with the workspace.

    \b
    Reads   metrics, params, curves and pictures of both, as `dvc metrics diff`,
            `dvc params diff` and `dvc plots diff` give them
    Writes  comparison.html: metrics and params that differ, curves overlaid,
            pictures under a slider or side by side. It needs no network.

    Left out are outputs of stages that have not run with a revision's params and code: they are another run's.

    \b
    Example
      viadet compare main sweep-1 -o sweep-1.html
    """
    from viadet.pictures.comparison import render_page

    if old == new:
        raise UserError(f"{old} is compared with itself; name two revisions")
    enter_project()
    path = out or Path.cwd() / "comparison.html"
    with replaced_file(path) as temporary, tempfile.TemporaryDirectory() as pictures_dir:
        temporary.touch()  # before the work: where nothing can be written, it ends here
        metrics = dvc_diff("metrics", old, new, "--all")
        params = dvc_diff("params", old, new)
        plots = dvc_diff("plots", old, new, "-o", pictures_dir)
        left_out = drop_other_runs(metrics, plots, {"old": old, "new": new})
        page, notes = render_page(
            {"old": (old, commit_summary(old)), "new": (new, commit_summary(new))}, metrics, params, plots, left_out
        )
        temporary.write_text(page, encoding="utf-8", newline="\n")
    for note in notes:
        print(note)
    print(f"{path}: {len(page) / 1e6:.1f} MB, open it in a browser")


def dvc_diff(kind: str, old: str, new: str, *options: str) -> dict:
    """Run `dvc metrics diff`, `dvc params diff` or `dvc plots diff`; errors as of `read_output`."""
    return json.loads(read_output("dvc", kind, "diff", old, new, "--json", *options) or "{}")


def drop_other_runs(metrics: dict, plots: dict, names: dict[str, str]) -> list[str]:
    """Take out of the JSON of DVC's differences what is of another run than the revision it lies at.

    Args:
        metrics: the JSON of `dvc metrics diff`, changed in place.
        plots: the JSON of `dvc plots diff`, changed in place.
        names: of the revisions "old" and "new".

    Returns:
        A line for each revision that something is left out of.
    """
    outdated, left_out = outdated_outputs(names.values()), []
    for side, revision in names.items():
        files = [file for file in metrics if file in outdated[revision]]
        for values in (values for file in files for values in metrics[file].values()):
            values.pop(side, None)
        for name, entries in plots.get("data", {}).items():
            if outdated[revision].isdisjoint((name, *map(str, PurePosixPath(name).parents))):
                continue
            entries[:] = [entry for entry in entries if entry["revisions"] != [revision]]
            for entry in (entry for entry in entries if revision in entry["revisions"]):  # a curve of both
                rows = entry["content"]["data"]["values"]
                rows[:] = [row for row in rows if row["rev"] != revision]
                entry["revisions"].remove(revision)
        if outdated[revision]:
            shown = ", ".join([*files, "curves and pictures of such stages"])
            left_out.append(
                f"{revision} has not run all stages with its params and code; left out, as of another run: {shown}."
            )
    return left_out


def commit_summary(revision: str) -> str:
    """Return a commit's short hash and subject, as HEAD is another commit tomorrow; empty if Git does not know it."""
    command = ["git", "log", "-1", "--format=%h %s", "--end-of-options", revision, "--"]
    return subprocess.run(command, capture_output=True, check=False).stdout.decode(errors="replace").strip()
