"""Pictures: photographs with boxes, polygons and heat maps, the same bytes for the same content."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

GROUND_TRUTH = "lime"
DETECTION = "orange"
HEAT_COLOURS = "turbo"
HEAT_STRENGTH = 0.55  # of a heat map over its photograph
DPI = 100
MIN_CELL_WIDTH_INCHES = 2.6  # room for a title beside those of its neighbours, however narrow the photograph


def new_figure(columns: int, rows: int, cell_wh_inches: tuple[float, float]) -> tuple[Figure, np.ndarray]:
    """Make a figure of equal cells without axes; returns it and its axes, row by row, [rows * columns]."""
    width, height = max(cell_wh_inches[0], MIN_CELL_WIDTH_INCHES), cell_wh_inches[1]
    # A cell also holds a title of one line.
    figure = Figure(figsize=(columns * width, rows * (height + 0.35)), layout="constrained", dpi=DPI)
    figure.get_layout_engine().set(w_pad=0.04, h_pad=0.04, wspace=0, hspace=0)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for ax in axes:
        ax.set_axis_off()
    return figure, axes


def show_image(ax: Axes, image: torch.Tensor, title: str = "") -> None:
    """Show a photograph, uint8 [3, H, W], in its own px coordinates: the upper left corner is (0, 0)."""
    _, height, width = image.shape
    ax.imshow(image.permute(1, 2, 0).numpy(), extent=(0, width, height, 0), interpolation="antialiased")
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.set_title(title, fontsize=11)


def show_heat(ax: Axes, heat: np.ndarray, size_wh: tuple[int, int], top: float | None = None) -> None:
    """Lay a heat map [h, w] over the whole photograph of `size_wh` px; its colours reach from 0 to `top`.

    Without `top` they reach from the map's smallest to its largest value.
    """
    width, height = size_wh
    low, high = (float(heat.min()), float(heat.max())) if top is None else (0.0, top)
    high = high if high > low else low + 1.0  # a flat map is all low, not all high
    ax.imshow(
        heat,
        cmap=HEAT_COLOURS,
        alpha=HEAT_STRENGTH,
        vmin=low,
        vmax=high,
        extent=(0, width, height, 0),
        interpolation="bilinear",
    )
    ax.set(xlim=(0, width), ylim=(height, 0))


def draw_boxes(
    ax: Axes, boxes_xyxy: torch.Tensor, colour: str, labels: list[str] | None = None, line_width: float = 2.0
) -> None:
    """Draw boxes [N, 4] in the px of the axes, each with its label at an upper corner.

    The label lies towards the picture's middle, so that a box at an edge does not lose it.
    """
    right, bottom = ax.get_xlim()[1], ax.get_ylim()[0]
    for index, (x0, y0, x1, y1) in enumerate(boxes_xyxy.tolist()):
        ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=line_width))
        if labels is not None:
            on_the_left = x0 <= right / 2
            ax.text(
                x0 if on_the_left else x1,
                y0,
                labels[index],
                fontsize=7,
                horizontalalignment="left" if on_the_left else "right",
                verticalalignment="top" if y0 <= 0.9 * bottom else "bottom",
                clip_on=True,
                bbox={"facecolor": colour, "alpha": 0.7, "pad": 1, "linewidth": 0},
            )


def draw_polygons(ax: Axes, polygons: list[torch.Tensor], colour: str) -> None:
    """Draw polygons, [points, 2] each, in the px of the axes."""
    ax.add_collection(
        PolyCollection([polygon.numpy() for polygon in polygons], facecolors="none", edgecolors=colour, linewidths=1)
    )


def picture_path(folder: Path, file_name: str) -> Path:
    """Name the picture made of a validation image; no two images share one.

    `dvc plots diff` fails on a folder in which some names are numbers and others are not, hence the prefix.
    """
    stem = file_name.removesuffix(".jpg")
    return folder / f"val_{stem}.jpg"


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG or JPEG without the name of the program or the time in it."""
    if path.suffix == ".png":
        figure.savefig(path, metadata={"Software": None})
    else:
        figure.savefig(path, pil_kwargs={"quality": 88})
