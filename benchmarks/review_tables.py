"""The tables and the chart of `benchmarks.review`."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.figure import Figure

from benchmarks.tables import markdown, mean_and_error, standard_error
from viadet.commands.repeat import mean_difference
from viadet.pictures.drawing import save_figure
from viadet.project.metric_names import AP

BARS = {"dropped": 0.9, "swapped": 0.85, "shifted": 0.65}  # the least precision at n, over all seeds
COLUMNS = ["corrected", "step", "seed", "suspects", "images", "errors_left", AP]
SUSPECTS, RANDOM = "suspects", "random images"  # values of the first column
NOTHING, ALL_ERRORS = "nothing", "all errors"  # likewise, of the ends
COLOURS = {SUSPECTS: "tab:orange", RANDOM: "tab:blue", NOTHING: "tab:grey", ALL_ERRORS: "tab:green"}

Rows = Sequence[Mapping[str, Any]]


def precision_table(found: Mapping[int, Mapping[str, tuple[int, int]]]) -> str:
    """Format the precision at n of each seed and of all as Markdown.

    Args:
        found: by seed and kind of error: the true ones among the first n suspects, and n.
    """
    lines = [["seed", *BARS]]
    lines += [[str(seed), *(_share([counts[kind]]) for kind in BARS)] for seed, counts in found.items()]
    lines.append(["together", *(_share([counts[kind] for counts in found.values()]) for kind in BARS)])
    lines.append(["to be reached", *(f"{bar:.2f}" for bar in BARS.values())])
    return markdown(lines)


def gain_table(rows: Rows) -> str:
    """Format AP after each correction, mean and standard error over the seeds, as Markdown."""
    lines = [["corrected", "images", "errors left", AP, "random: errors left", AP, "difference"]]
    lines.append([NOTHING, *_cells(_chosen(rows, NOTHING))])
    for step in dict.fromkeys(row["step"] for row in rows if row["step"]):
        own, other = (_chosen(rows, side, step) for side in (SUSPECTS, RANDOM))
        difference = mean_difference(list(zip(own, other, strict=True)), AP)
        lines.append([f"{step} suspects", *_cells(own), *_cells(other)[1:], difference])
    lines.append([ALL_ERRORS, *_cells(_chosen(rows, ALL_ERRORS))])
    return markdown(lines)


def plot(rows: Rows, path: Path) -> None:
    """Draw the mean AP and its standard error by the number of images that somebody looks at, and the two ends."""
    figure = Figure(figsize=(6.4, 4.2), dpi=100, layout="constrained")
    ax = figure.add_subplot(xlabel="images looked at", ylabel="bbox mAP on images without errors")
    for end in (NOTHING, ALL_ERRORS):
        aps = [row[AP] for row in _chosen(rows, end)]
        middle, error = mean(aps), standard_error(aps)
        ax.axhline(middle, color=COLOURS[end], linestyle="--", label=f"{end} corrected")
        ax.axhspan(middle - error, middle + error, color=COLOURS[end], alpha=0.15, linewidth=0)
    for side in (SUSPECTS, RANDOM):
        points = [_chosen(rows, side, step) for step in dict.fromkeys(row["step"] for row in _chosen(rows, side))]
        points = [_chosen(rows, NOTHING), *points]
        images = [mean(row["images"] for row in own) for own in points]
        aps = [[row[AP] for row in own] for own in points]
        errors = [standard_error(values) for values in aps]
        ax.errorbar(images, list(map(mean, aps)), errors, color=COLOURS[side], marker="o", capsize=3, label=side)
    ax.legend(title=f"mean ± standard error of {len({row['seed'] for row in rows})} seeds")
    ax.grid(alpha=0.3)
    save_figure(figure, path)


def _chosen(rows: Rows, corrected: str, step: str | None = None) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["corrected"] == corrected and step in (None, row["step"])]


def _share(counts: Iterable[tuple[int, int]]) -> str:
    true, n = (sum(values) for values in zip(*counts, strict=True))
    return f"{true / n:.2f} ({true} of {n})"


def _cells(rows: Rows) -> list[str]:
    aps = [row[AP] for row in rows]
    images, left = (mean(row[column] for row in rows) for column in ("images", "errors_left"))
    return [f"{images:.1f}", f"{left:.1f}", mean_and_error(aps)]
