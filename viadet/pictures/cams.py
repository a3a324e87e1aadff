"""Class activation maps of the boxes of an image, and curves that compare the methods."""

import numpy as np
import torch
from matplotlib.figure import Figure

from viadet.explanation.explained import ExplainedImage, sum_of
from viadet.explanation.faithfulness import BOX_CENTRE, FRACTIONS, Key
from viadet.explanation.maps import inside_box
from viadet.explanation.summary import BASELINE, mean
from viadet.pictures.drawing import (
    DETECTION,
    GROUND_TRUTH,
    cell_of,
    draw_boxes,
    draw_polygons,
    greyed,
    mark_cell,
    new_figure,
    show_heat,
    show_image,
)
from viadet.project.params import GradCamParams

COLOURS = {"right": DETECTION, "wrong": "red", "missed": GROUND_TRUTH}


def rows_to_draw(look: ExplainedImage, params: GradCamParams) -> list[int]:
    """Choose the best detections, further false positives, and missed objects: indices of detections, then missed."""
    best = list(range(len(look.detections)))[: params.max_boxes]
    wrong = [row for row, box in enumerate(look.detections) if box.kind == "wrong" and row not in best]
    missed = [len(look.detections) + row for row in range(len(look.missed))]
    return best + wrong[: params.max_mistakes] + missed[: params.max_mistakes]


def heading(look: ExplainedImage, method: str, params: GradCamParams) -> str:
    """Say what a picture explains."""
    found = len(look.detections)
    detections = f"{found or 'no'} detection{'' if found == 1 else 's'} of {params.score_threshold:g} or more"
    explained = {"score": "class score", "box": "box regression", "both": "class score and box regression"}
    return f"{method} of the {explained[params.target]}: {detections}, {len(look.missed)} missed"


def draw_cams(
    look: ExplainedImage,
    rows: list[int],
    maps: list[dict[int, np.ndarray]],
    names: list[str],
    method: str,
    params: GradCamParams,
) -> Figure:
    """Draw a row for each explained box: the photograph, its map at each level, and their sum.

    Args:
        look: the image.
        rows: what is drawn: indices of its detections, then of the missed objects.
        maps: of its detections, then of the missed objects, by level, [H, W] px of the photograph in the input.
        names: of the levels.
        method: that made the maps.
        params: how they are shown.
    """
    explained = [*look.detections, *look.missed]
    photograph = look.canvas[:, : look.letterbox.height, : look.letterbox.width]
    grey = greyed(photograph)
    # A cell is no narrower than its title, which leaves room for taller portraits.
    cell = cell_of(photograph, min(3.4, 2.6 * max(1.0, look.letterbox.height / look.letterbox.width)))
    figure, axes = new_figure(2 + len(names), max(1, len(rows)), cell, heading(look, method, params))
    others_xyxy = torch.from_numpy(np.array([box.box_xyxy for box in look.detections]).reshape(-1, 4))
    if not rows:
        show_image(axes[0], photograph, "nothing to explain")
    for cells, row in zip(axes.reshape(-1, 2 + len(names)), rows, strict=False):
        box, mine = explained[row], maps[row]
        box_xyxy, colour = torch.from_numpy(box.box_xyxy)[None], COLOURS[box.kind]
        show_image(cells[0], photograph, f"{box.kind}, {'best anchor ' if box.kind == 'missed' else ''}{box.score:.2f}")
        draw_boxes(cells[0], others_xyxy, DETECTION, line_width=0.5)
        draw_boxes(cells[0], box_xyxy, colour)
        if box.polygon is not None:
            draw_polygons(cells[0], [box.polygon], GROUND_TRUTH)
        shown = [*((name, mine.get(level)) for level, name in enumerate(names)), ("sum", sum_of(mine))]
        for ax, (name, heat) in zip(cells[1:], shown, strict=True):
            own = name == names[box.target.level]
            title = f"{name}, {'nearest anchors' if box.kind == 'missed' else 'made'} here" if own else name
            shows = np.ones(grey.shape[1:], dtype=bool)
            if params.normalise == "box":
                shows = inside_box(shows.shape, box.box_xyxy)
            heat = heat if heat is None else np.where(shows, np.maximum(heat, 0), 0)
            if heat is None or not heat.any():
                title += ": no gradient" if heat is None else ": empty"
            show_image(ax, grey, title)
            if heat is not None and heat.any():
                show_heat(ax, heat, (0.0, float(heat.max())))
            draw_boxes(ax, others_xyxy, DETECTION, line_width=0.5)
            draw_boxes(ax, box_xyxy, colour, line_width=1.2)
            if own:
                mark_cell(ax, colour)
    return figure


def draw_methods(
    values: dict[Key, list[float]], steps: list[tuple[str, str]], correlations: dict[str, list[float]]
) -> Figure:
    """Plot all methods: the score without and with the pixels they rank highest, and the check with random weights."""
    figure = Figure(figsize=(17, 5.5), layout="constrained")
    panels = figure.subplots(1, 3, width_ratios=(1, 1, 1.5))
    baselines = {BASELINE: {"color": "0.4", "linestyle": "--"}, BOX_CENTRE: {"color": "0.4", "linestyle": ":"}}
    for index, method in enumerate([*correlations, BOX_CENTRE]):
        style = baselines.get(method, {"color": f"C{index}"})
        for ax, curve in zip(panels, ("deletion", "insertion"), strict=False):
            shares = [mean(values[method, curve, fraction]) for fraction in FRACTIONS]
            if None not in shares:
                ax.plot([100 * fraction for fraction in FRACTIONS], shares, marker="o", label=method, **style)
        if None not in correlations.get(method, [None]):
            panels[2].plot([path for _, path in steps], correlations[method], marker="o", label=method, **style)
    panels[0].set(title="Deletion (lower is better)", ylabel="score, as a share of the whole image's")
    panels[1].set(title="Insertion (higher is better)", ylabel="score, as a share of the whole image's")
    for ax in panels[:2]:
        ax.set(xlabel="highest pixels of the map [% of the photograph]", ylim=(0, None))
    panels[2].set(
        title="Random weights from the heads down (1: the map stays as it was)",
        ylabel="rank correlation with the real map",
        ylim=(None, 1.05),
    )
    panels[2].axhline(0, color="0.8", linewidth=1)
    panels[2].tick_params("x", rotation=60)
    if panels[0].lines:
        figure.legend(handles=panels[0].lines, loc="outside lower left", ncols=5)
    return figure
