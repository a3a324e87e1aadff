"""The page that puts two runs side by side."""

import base64
import copy
import hashlib
import json
import mimetypes
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import vl_convert
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from viadet.project.errors import UserError

COLOURS = {"old": "#0072b2", "new": "#d55e00"}  # Okabe and Ito's: told apart by all eyes, on white and on black
INK = "#010203"  # stands for the colour of the page's text, which a light and a dark page give themselves
SCRIPT = """
document.addEventListener("input", ({ target }) => {
  if (target.type === "range") target.parentElement.style.setProperty("--cut", target.value + "%");
});
"""


class Row(NamedTuple):
    """A metric or param at both revisions, as text."""

    name: str
    old: str
    new: str
    difference: str


class Curve(NamedTuple):
    """A plot of both revisions, or of the one that has it."""

    name: str
    svg: Markup
    absent: list[str]  # revisions


class Pair(NamedTuple):
    """A picture at both revisions, as data URIs; None where a revision lacks it."""

    name: str
    old: str | None
    new: str | None


def dvc_diff(what: str, old: str, new: str, *options: str) -> dict:
    """Ask DVC for a difference.

    Raises:
        UserError: with DVC's own reason.
    """
    command = [sys.executable, "-m", "dvc", what, "diff", old, new, "--json", *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        lines = [line.removeprefix("ERROR: ") for line in result.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = lines[0] if lines else result.stderr.strip()
        if "Git repositories" in reason:
            raise UserError("this folder is in no git repository; `git init` and commit, as revisions are compared")
        if "unknown Git revision" in reason:
            raise UserError(f"{reason}; `git log --oneline --all` and `dvc exp list --all-commits` list what there is")
        raise UserError(f"dvc {what} diff failed: {reason}")
    return json.loads(result.stdout or "{}")


def rows_of(differences: dict) -> dict[str, list[Row]]:
    """Turn DVC's differences into rows by file, both in alphabetical order."""
    return {
        file: [Row(name, _text(entry.get("old")), _text(entry.get("new")), _difference(entry)) for name, entry in rows]
        for file, entries in sorted(differences.items())
        if (rows := sorted(entries.items()))
    }


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)


def _difference(entry: dict) -> str:
    old, new = entry.get("old"), entry.get("new")
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in (old, new)):
        return ""
    return f"{new - old:+.3g}" if new != old else "0"


def draw_curve(spec: dict, colours: dict[str, str]) -> Markup:
    """Draw a Vega-Lite plot of DVC's as SVG that takes its ink from the page.

    Args:
        spec: with its data, as `dvc plots diff --json` gives it.
        colours: of the revisions in it.
    """
    spec = copy.deepcopy(spec)
    spec |= {"width": 360, "height": 240, "background": None}
    encoding = spec.get("encoding", {})
    if "color" in encoding:
        encoding["color"]["scale"] = {"domain": list(colours), "range": list(colours.values())}
        encoding["color"]["legend"] = None  # the page's head tells the colours
    if encoding.get("strokeDash"):  # DVC's legend shows dashed circles
        encoding["strokeDash"]["legend"] = {"title": None, "symbolType": "stroke", "symbolSize": 900}
    ink = {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
    config = {
        "title": {"color": INK, "fontSize": 13, "limit": 420},
        "axis": ink | {"gridColor": INK, "gridOpacity": 0.15, "domainColor": INK, "tickColor": INK},
        "legend": ink | {"symbolStrokeColor": INK, "orient": "bottom", "labelLimit": 300},
        "view": {"stroke": None},
        "bar": {"binSpacing": 0},
    }
    svg = vl_convert.vegalite_to_svg(spec, config=config)
    # Vega escapes all text of a plot
    return Markup(svg.replace(INK, "currentColor"))


def picture_uri(path: Path) -> str:
    """Encode a picture into an address that holds the picture itself."""
    kind = mimetypes.guess_type(path.name)[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def read_plots(old: str, new: str) -> tuple[list[Curve], dict[str, list[Pair]], list[str]]:
    """Collect curves, pictures by their folder, and what DVC or Vega could not make of the rest, a line each."""
    curves, pictures, troubles = [], defaultdict(list), set()
    with tempfile.TemporaryDirectory() as folder:
        plots = dvc_diff("plots", old, new, "-o", folder)
        for name, entries in plots.get("data", {}).items():
            if entries and entries[0]["type"] == "image":
                uris = {entry["revisions"][0]: picture_uri(Path(entry["url"])) for entry in entries}
                pictures[str(Path(name).parent)].append(Pair(Path(name).name, uris.get(old), uris.get(new)))
                continue
            for entry in entries:  # two where the templates of the revisions differ, none where there are no rows
                shown = {rev: COLOURS[side] for side, rev in (("old", old), ("new", new)) if rev in entry["revisions"]}
                try:
                    svg = draw_curve(entry["content"], shown)
                except ValueError as error:
                    troubles.add(f"{name} can't be drawn: {str(error).splitlines()[0]}")
                    continue
                curves.append(Curve(name, svg, [rev for rev in (old, new) if rev not in shown]))
    seen = {rev for rev in (old, new) if any(rev not in curve.absent for curve in curves)}
    # Of a revision without any curves one line is said elsewhere.
    troubles |= {
        f"{error['name']} can't be read at {error['rev']}: {error['msg']}"
        for error in plots.get("errors", [])
        if error["rev"] in seen
    }
    return curves, dict(sorted(pictures.items())), sorted(troubles)


def describe(revision: str) -> str:
    """Give a commit's hash and subject, as HEAD is another one tomorrow; empty for what git doesn't know."""
    command = ["git", "log", "-1", "--format=%h %s", "--end-of-options", revision, "--"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def missing_at(revision: str, side: str, metrics: dict, curves: list[Curve], pictures: dict) -> list[str]:
    """Say what a revision lacks altogether."""
    lines = []
    if not any(entry.get(side) is not None for entries in metrics.values() for entry in entries.values()):
        lines.append(f"{revision} has no metrics.")
    if curves and all(revision in curve.absent for curve in curves):
        lines.append(f"{revision} has no curves.")
    pairs = [pair for folder in pictures.values() for pair in folder]
    if pairs and all(getattr(pair, side) is None for pair in pairs):
        lines.append(f"{revision} has no pictures in this cache: dvc pull or dvc repro may bring them.")
    return lines


def render_page(old: str, new: str) -> tuple[str, list[str]]:
    """Make the page; also give what is missing on it, a line each."""
    metrics = dvc_diff("metrics", old, new, "--all")
    params = dvc_diff("params", old, new)
    curves, pictures, troubles = read_plots(old, new)
    sides = {"old": old, "new": new}
    missing = [line for side, rev in sides.items() for line in missing_at(rev, side, metrics, curves, pictures)]
    tables = rows_of(metrics)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("compare.html").render(
        revisions={side: (rev, describe(rev)) for side, rev in sides.items()},
        colours=COLOURS,
        missing=missing + troubles,
        changed={file: [row for row in rows if row.old != row.new] for file, rows in tables.items()},
        unchanged={file: [row for row in rows if row.old == row.new] for file, rows in tables.items()},
        params=rows_of(params),
        curves=curves,
        pictures=pictures,
        script=Markup(SCRIPT),
        script_hash=base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode(),
    )
    return page, missing + troubles
