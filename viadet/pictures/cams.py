"""Pictures of class activation maps: a row for each box of an image, and curves that compare the methods."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viadet.explanation.cams import BASELINE
from viadet.explanation.explained_boxes import ExplainedBox, ExplainedImage
from viadet.explanation.maps import BoxMaps, enlarge_box_maps, inside_box, sum_of_levels
from viadet.explanation.measurements import Measurements
from viadet.explanation.metrics import mean_curve
from viadet.explanation.perturbation import BOX_CENTRE, CURVES, FRACTIONS
from viadet.explanation.randomisation import Randomisation
from viadet.pictures.classes import class_names
from viadet.pictures.drawing import (
    DETECTION,
    GROUND_TRUTH,
    cell_wh_inches,
    draw_boxes,
    draw_polygons,
    grey_image,
    mark_cell,
    new_figure,
    show_heat,
    show_image,
)
from viadet.project.params import GradCamParams

KIND_COLOURS = {"right": DETECTION, "wrong": "red", "missed": GROUND_TRUTH}
OUTPUT_NAMES = {"score": "class score", "box": "box regression", "both": "class score and box regression"}


def draw_cams(
    image: ExplainedImage,
    coarse_maps: list[BoxMaps],
    level_names: list[str],
    method: str,
    params: GradCamParams,
    names: dict[int, str],
) -> Figure:
    """Draw a row for each chosen box: the photograph, the box's map at each level, and the sum of the levels.

    Args:
        image: with its boxes.
        coarse_maps: of its boxes, at least of those from `rows_to_draw`.
        level_names: of the neck's levels.
        method: that made the maps.
        params: how many boxes are drawn, and how.
        names: of the categories, by id; each row names its own if there are several.
    """
    rows, columns = rows_to_draw(image, params), 2 + len(level_names)
    letterbox, photograph = image.input_image.letterbox, image.input_image.photograph
    # A cell is never narrower than its title, so a portrait may be taller than other photographs.
    cell_wh = cell_wh_inches(photograph, min(3.4, 2.6 * max(1.0, letterbox.height / letterbox.width)))
    figure, axes = new_figure(columns, max(1, len(rows)), cell_wh, heading(image, method, params))
    if not rows:
        show_image(axes[0], photograph, "nothing to explain")
    grey = grey_image(photograph)
    detections_xyxy = np.array([box.box_xyxy for box in image.detections]).reshape(-1, 4)
    for cells, row in zip(axes.reshape(-1, columns), rows, strict=False):
        box, maps = image.boxes[row], enlarge_box_maps(coarse_maps[row], letterbox)
        show_image(cells[0], photograph, _box_title(box, names))
        draw_boxes(cells[0], detections_xyxy, DETECTION, line_width=0.5)
        draw_boxes(cells[0], box.box_xyxy[None], KIND_COLOURS[box.kind])
        if box.polygon is not None:
            draw_polygons(cells[0], [box.polygon], GROUND_TRUTH)
        heats = {name: maps.get(level) for level, name in enumerate(level_names)} | {"sum": sum_of_levels(maps)}
        for ax, (name, heat) in zip(cells[1:], heats.items(), strict=True):
            made_here = name == level_names[box.target.level]
            _draw_map(ax, grey, _map_title(name, box, made_here), heat, box, params)
            draw_boxes(ax, detections_xyxy, DETECTION, line_width=0.5)
            draw_boxes(ax, box.box_xyxy[None], KIND_COLOURS[box.kind], line_width=1.2)
            if made_here:
                mark_cell(ax, KIND_COLOURS[box.kind])
    return figure


def rows_to_draw(image: ExplainedImage, params: GradCamParams) -> list[int]:
    """Choose the best detections, further false positives and the largest missed objects: indices of `image.boxes`."""
    best = list(range(len(image.detections)))[: params.max_boxes]
    wrong = [row for row, box in enumerate(image.detections) if box.kind == "wrong" and row not in best]
    missed = [len(image.detections) + row for row in range(len(image.missed))]
    return best + wrong[: params.max_mistakes] + missed[: params.max_mistakes]


def heading(image: ExplainedImage, method: str, params: GradCamParams) -> str:
    """Name the method, the output that is explained, and how many boxes there are."""
    count = len(image.detections)
    detections = f"{count or 'no'} detection{'' if count == 1 else 's'} of {params.score_threshold:g} or more"
    return f"{method} of the {OUTPUT_NAMES[params.target]}: {detections}, {len(image.missed)} missed"


def _box_title(box: ExplainedBox, names: dict[int, str]) -> str:
    """Name the box by its kind and class: that of the detection, or of the missed object."""
    class_name = "".join(f" {name}" for name in class_names([box.target.label], names) or [])
    return f"{box.kind}{class_name}, {'best anchor ' if box.kind == 'missed' else ''}{box.score:.2f}"


def _map_title(name: str, box: ExplainedBox, made_here: bool) -> str:
    return f"{name}, {'nearest anchors' if box.kind == 'missed' else 'made'} here" if made_here else name


def _draw_map(
    ax: Axes, grey: torch.Tensor, title: str, heat: np.ndarray | None, box: ExplainedBox, params: GradCamParams
) -> None:
    """Draw the positive part of a map [H, W] over the grey photograph; the title says if there is nothing to draw."""
    if heat is None:
        show_image(ax, grey, f"{title}: no gradient")
        return
    shown = inside_box(heat.shape, box.box_xyxy) if params.normalise == "box" else np.ones(heat.shape, dtype=bool)
    heat = np.where(shown, np.maximum(heat, 0), 0)
    show_image(ax, grey, title if heat.any() else f"{title}: empty")
    if heat.any():
        show_heat(ax, heat, (0.0, float(heat.max())))


def draw_methods(measurements: Measurements, randomisation: Randomisation) -> Figure:
    """Plot all methods: deletion, insertion, and the rank correlation after each step of randomisation."""
    figure = Figure(figsize=(17, 5.5), layout="constrained")
    panels = figure.subplots(1, 3, width_ratios=(1, 1, 1.5))
    baselines = {BASELINE: {"color": "0.4", "linestyle": "--"}, BOX_CENTRE: {"color": "0.4", "linestyle": ":"}}
    for index, method in enumerate([*randomisation.correlations, BOX_CENTRE]):
        style = {"marker": "o", "label": method} | baselines.get(method, {"color": f"C{index}"})
        for ax, curve in zip(panels, CURVES, strict=False):
            shares = mean_curve(measurements, method, curve)
            if shares:
                ax.plot([100 * fraction for fraction in FRACTIONS], shares, **style)
        correlations = randomisation.correlations.get(method)
        if correlations:
            panels[2].plot([path for _, path in randomisation.steps], correlations, **style)
    for ax, title in zip(panels, ("Deletion (lower is better)", "Insertion (higher is better)"), strict=False):
        ax.set(title=title, ylabel="score, as a share of the whole image's", ylim=(0, None))
        ax.set_xlabel("highest pixels of the map [% of the photograph]")
    panels[2].set(title="Random weights from the heads down (1: the map stays as it was)", ylim=(None, 1.05))
    panels[2].set_ylabel("rank correlation with the real map")
    panels[2].axhline(0, color="0.8", linewidth=1)
    panels[2].tick_params("x", rotation=60)
    if panels[0].lines:
        figure.legend(handles=panels[0].lines, loc="outside lower left", ncols=5)
    return figure
