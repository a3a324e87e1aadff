"""The page that compares two revisions: HTML that needs no network, drawn from what DVC says of them."""

import base64
import copy
import hashlib
import json
import mimetypes
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import vl_convert
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

COLOURS = {"old": "#0072b2", "new": "#d55e00"}  # Okabe and Ito's: told apart by all eyes, on white and on black
TEXT_COLOUR = "#010203"  # stands for the page's own text colour, which differs between a light and a dark page
SCRIPT = """
document.addEventListener("input", ({ target }) => {
  if (target.type === "range") target.parentElement.style.setProperty("--cut", target.value + "%");
});
"""


class ValuePair(NamedTuple):
    """A metric or param at both revisions, as text."""

    name: str
    old: str
    new: str
    difference: str


class Curve(NamedTuple):
    """A plot of the revisions that have it."""

    name: str
    svg: Markup
    missing_at: list[str]  # revisions that do not have it


class PicturePair(NamedTuple):
    """A picture at both revisions, as data URIs; None where a revision does not have it."""

    name: str
    old: str | None
    new: str | None


def render_page(
    revisions: dict[str, tuple[str, str]], metrics: dict, params: dict, plots: dict
) -> tuple[str, list[str]]:
    """Render the page.

    Args:
        revisions: name and commit summary of the revisions "old" and "new".
        metrics: the JSON of `dvc metrics diff --all --json`.
        params: the JSON of `dvc params diff --json`.
        plots: the JSON of `dvc plots diff --json`, whose pictures are still on the disk.

    Returns:
        The HTML, and what is missing on it, a line each.
    """
    names = {side: name for side, (name, _) in revisions.items()}
    curves, draw_errors = draw_curves(plots, names)
    pictures = pair_pictures(plots, names)
    notes = [note for side in names for note in missing_notes(names[side], side, metrics, curves, pictures)]
    notes += sorted({*draw_errors, *read_errors(plots, names, curves)})
    metric_tables = value_tables(metrics)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("comparison.html").render(
        revisions=revisions,
        colours=COLOURS,
        notes=notes,
        changed={file: [pair for pair in pairs if pair.old != pair.new] for file, pairs in metric_tables.items()},
        unchanged={file: [pair for pair in pairs if pair.old == pair.new] for file, pairs in metric_tables.items()},
        params=value_tables(params),
        curves=curves,
        pictures=pictures,
        script=Markup(SCRIPT),
        script_hash=base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode(),
    )
    return page, notes


def value_tables(differences: dict) -> dict[str, list[ValuePair]]:
    """Format metrics or params as a table for each file, files and names in alphabetical order; no empty tables."""
    return {
        file: [
            ValuePair(name, _format(value.get("old")), _format(value.get("new")), _format_difference(value))
            for name, value in sorted(values.items())
        ]
        for file, values in sorted(differences.items())
        if values
    }


def _format(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)


def _format_difference(value: dict) -> str:
    old, new = value.get("old"), value.get("new")
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in (old, new)):
        return ""
    return f"{new - old:+.3g}" if new != old else "0"


def draw_curves(plots: dict, names: dict[str, str]) -> tuple[list[Curve], list[str]]:
    """Draw all plots that are not pictures.

    Args:
        plots: the JSON of `dvc plots diff --json`.
        names: of the revisions "old" and "new".

    Returns:
        The curves, and an error message for each plot that Vega cannot draw.
    """
    curves, errors = [], []
    for name, entries in plots.get("data", {}).items():
        for entry in entries:  # two where the revisions' templates differ, none where there are no rows
            if entry["type"] == "image":
                continue
            colours = {names[side]: COLOURS[side] for side in names if names[side] in entry["revisions"]}
            try:
                svg = draw_curve(entry["content"], colours)
            except ValueError as error:
                errors.append(f"{name} can't be drawn: {str(error).splitlines()[0]}")
            else:
                curves.append(Curve(name, svg, [revision for revision in names.values() if revision not in colours]))
    return curves, errors


def draw_curve(spec: dict, colours: dict[str, str]) -> Markup:
    """Draw a plot as SVG whose text and axes take the colour of the page's text.

    Args:
        spec: in Vega-Lite, with its data, as `dvc plots diff --json` gives it.
        colours: of the revisions in it, by name.
    """
    spec = copy.deepcopy(spec)
    spec |= {"width": 360, "height": 240, "background": None}
    encoding = spec.get("encoding", {})
    if "color" in encoding:
        encoding["color"]["scale"] = {"domain": list(colours), "range": list(colours.values())}
        encoding["color"]["legend"] = None  # the top of the page shows the colours
    if encoding.get("strokeDash"):  # DVC's legend shows dashed circles
        encoding["strokeDash"]["legend"] = {"title": None, "symbolType": "stroke", "symbolSize": 900}
    text = {"labelColor": TEXT_COLOUR, "titleColor": TEXT_COLOUR, "labelFontSize": 12, "titleFontSize": 12}
    text |= {"titleFontWeight": "normal"}
    lines = {"gridColor": TEXT_COLOUR, "gridOpacity": 0.15, "domainColor": TEXT_COLOUR, "tickColor": TEXT_COLOUR}
    config = {
        "title": {"color": TEXT_COLOUR, "fontSize": 13, "limit": 420},
        "axis": text | lines,
        "legend": text | {"symbolStrokeColor": TEXT_COLOUR, "orient": "bottom", "labelLimit": 300},
        "view": {"stroke": None},
        "bar": {"binSpacing": 0},
    }
    svg = vl_convert.vegalite_to_svg(spec, config=config)
    # Vega escapes all text of a plot
    return Markup(svg.replace(TEXT_COLOUR, "currentColor"))


def pair_pictures(plots: dict, names: dict[str, str]) -> dict[str, list[PicturePair]]:
    """Read the pictures of both revisions, by their folder in alphabetical order.

    Args:
        plots: the JSON of `dvc plots diff --json`, whose pictures are still on the disk.
        names: of the revisions "old" and "new".
    """
    pictures = defaultdict(list)
    for name, entries in plots.get("data", {}).items():
        uris = {entry["revisions"][0]: picture_uri(Path(entry["url"])) for entry in entries if entry["type"] == "image"}
        if uris:
            pair = PicturePair(Path(name).name, uris.get(names["old"]), uris.get(names["new"]))
            pictures[str(Path(name).parent)].append(pair)
    return dict(sorted(pictures.items()))


def picture_uri(path: Path) -> str:
    """Encode a picture as a data URI."""
    kind = mimetypes.guess_type(path.name)[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def missing_notes(revision: str, side: str, metrics: dict, curves: list[Curve], pictures: dict) -> list[str]:
    """Name the kinds of output that a revision does not have at all: metrics, curves, pictures."""
    notes = []
    if not any(value.get(side) is not None for values in metrics.values() for value in values.values()):
        notes.append(f"{revision} has no metrics.")
    if curves and all(revision in curve.missing_at for curve in curves):
        notes.append(f"{revision} has no curves.")
    pairs = [pair for folder in pictures.values() for pair in folder]
    if pairs and all(getattr(pair, side) is None for pair in pairs):
        notes.append(f"{revision} has no pictures in this cache: dvc pull or dvc repro may bring them.")
    return notes


def read_errors(plots: dict, names: dict[str, str], curves: list[Curve]) -> list[str]:
    """Describe each plot that DVC cannot read, except at a revision without any curves: `missing_notes` names that."""
    with_curves = {name for name in names.values() if any(name not in curve.missing_at for curve in curves)}
    return [
        f"{error['name']} can't be read at {error['rev']}: {error['msg']}"
        for error in plots.get("errors", [])
        if error["rev"] in with_curves
    ]
