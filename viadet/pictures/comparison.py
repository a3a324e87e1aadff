"""The page that compares two revisions: HTML that needs no network, drawn from what DVC says of them."""

import json
import mimetypes
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import vl_convert
from markupsafe import Markup

from viadet.pictures.pages import picture_uri, render_template

COLOURS = {"old": "#0072b2", "new": "#d55e00"}  # Okabe and Ito's: told apart by all eyes, on white and on black
TEXT_COLOUR = "#010203"  # stands for the page's own text colour, which differs between a light and a dark page
SCRIPT = """
document.addEventListener("input", ({ target }) => {
  if (target.type === "range") target.parentElement.style.setProperty("--cut", target.value + "%");
});
"""


def render_page(
    revisions: dict[str, tuple[str, str]], metrics: dict, params: dict, plots: dict, left_out: Sequence[str] = ()
) -> tuple[str, list[str]]:
    """Render the page.

    Args:
        revisions: name and commit summary of the revisions "old" and "new".
        metrics: the JSON of `dvc metrics diff --all --json`.
        params: the JSON of `dvc params diff --json`.
        plots: the JSON of `dvc plots diff --json`, whose pictures are still on the disk.
        left_out: what is taken out of them, a line each.

    Returns:
        The HTML, and what is missing on it, a line each.
    """
    names = {side: name for side, (name, _) in revisions.items()}
    curves, pictures, draw_errors = _read_plots(plots, names)
    with_curves = {name for name in names.values() if any(name not in curve["missing_at"] for curve in curves)}
    read_errors = [
        f"{error['name']} can't be read at {error['rev']}: {error['msg']}"
        for error in plots.get("errors", [])
        if error["rev"] in with_curves  # one note says that the others have none
    ]
    notes = [*left_out, *_missing_notes(names, metrics, with_curves, pictures), *sorted({*draw_errors, *read_errors})]
    metric_tables = _value_tables(metrics)
    page = render_template(
        "comparison.html",
        SCRIPT,
        revisions=revisions,
        colours=COLOURS,
        notes=notes,
        changed={file: [row for row in rows if row["old"] != row["new"]] for file, rows in metric_tables.items()},
        unchanged={file: [row for row in rows if row["old"] == row["new"]] for file, rows in metric_tables.items()},
        params=_value_tables(params),
        curves=curves,
        pictures=pictures,
    )
    return page, notes


def _value_tables(differences: dict) -> dict[str, list[dict[str, str]]]:
    """Format metrics or params as a table for each file, files and names in alphabetical order; no empty tables."""
    return {
        file: [
            {
                "name": name,
                "old": _format(value.get("old")),
                "new": _format(value.get("new")),
                "difference": _format_difference(value.get("old"), value.get("new")),
            }
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
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _format_difference(old: Any, new: Any) -> str:
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in (old, new)):
        return ""
    return f"{new - old:+.3g}" if new != old else "0"


def _read_plots(plots: dict, names: dict[str, str]) -> tuple[list[dict], dict[str, list[dict]], list[str]]:
    """Draw the curves and read the pictures of both revisions.

    Returns:
        Curves with the revisions that do not have them, pairs of pictures as data URIs by their folder in alphabetical
        order (None where a revision does not have one), and an error message for each curve that Vega cannot draw.
    """
    curves, pictures, errors = [], defaultdict(list), []
    for name, entries in plots.get("data", {}).items():
        uris = {}
        for entry in entries:  # of a curve two where the revisions' templates differ, none where there are no rows
            if entry["type"] == "image":
                uris[entry["revisions"][0]] = _picture_uri(Path(entry["url"]))
                continue
            colours = {revision: COLOURS[side] for side, revision in names.items() if revision in entry["revisions"]}
            missing_at = [revision for revision in names.values() if revision not in colours]
            try:
                curves.append({"name": name, "svg": _draw_curve(entry["content"], colours), "missing_at": missing_at})
            except ValueError as error:
                errors.append(f"{name} can't be drawn: {str(error).splitlines()[0]}")
        if uris:
            pair = {"name": Path(name).name} | {side: uris.get(revision) for side, revision in names.items()}
            pictures[str(Path(name).parent)].append(pair)
    return curves, dict(sorted(pictures.items())), errors


def _draw_curve(spec: dict, colours: dict[str, str]) -> Markup:
    """Draw a plot in Vega-Lite, with its data, as SVG whose text and axes take the colour of the page's text."""
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


def _picture_uri(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "image/png"
    return picture_uri(path.read_bytes(), kind)


def _missing_notes(names: dict[str, str], metrics: dict, with_curves: set[str], pictures: dict) -> list[str]:
    """Name the kinds of output that a revision does not have at all: metrics, curves, pictures."""
    notes = []
    pairs = [pair for folder in pictures.values() for pair in folder]
    for side, revision in names.items():
        if not any(value.get(side) is not None for values in metrics.values() for value in values.values()):
            notes.append(f"{revision} has no metrics.")
        if with_curves and revision not in with_curves:
            notes.append(f"{revision} has no curves.")
        if pairs and all(pair[side] is None for pair in pairs):
            notes.append(f"{revision} has no pictures in this cache: dvc pull or dvc repro may bring them.")
    return notes
