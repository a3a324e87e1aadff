"""Show why the detector sees an object there, or sees none, and measure whether that explanation means anything.

Class activation maps of the detections, right and wrong, and of the missed objects through the anchors nearest to them,
at each level of the neck. Measured over all detections: whether a map points into the box and the polygon, how much of
its energy lies there, what happens to the score when its pixels are taken away, and whether it changes when the weights
become random.

Reads   data/model/, data/coco/val.json, data/raw/val/
Writes  plots/grad_cam/images/: a picture an image, a row for each explained box; plots/grad_cam/methods.png,
        plots/grad_cam/{perturbation,randomisation}.csv; metrics/grad_cam.json (every method and level),
        metrics/grad_cam_summary.json (what experiments are compared by)
Run     dvc repro grad_cam
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from stages.detection.cli import run_stage
from stages.detection.coco import by_image
from stages.detection.detect import anchors_of
from stages.detection.drawing import (
    DETECTION,
    GROUND_TRUTH,
    cell_of,
    draw_boxes,
    draw_polygons,
    greyed,
    mark_cell,
    new_figure,
    picture_path,
    save_figure,
    show_heat,
    show_image,
)
from stages.detection.explain import Look, coarse_maps, enlarged, look_at, sum_of
from stages.detection.faithfulness import BOX_CENTRE, FRACTIONS, Key, measure_image, randomisation, to_check
from stages.detection.files import read_json, replaced_dir, write_csv, write_json
from stages.detection.maps import inside_box
from stages.detection.network import keep_freed_memory, level_names, load_network, pick_device
from stages.detection.params import GradCamParams, read_recipe

MODEL_DIR = Path("data/model")
COCO_PATH = Path("data/coco/val.json")
IMAGE_DIR = Path("data/raw")
PLOTS_DIR = Path("plots/grad_cam")
METRICS_PATH = Path("metrics/grad_cam.json")
SUMMARY_PATH = Path("metrics/grad_cam_summary.json")
BASELINE = "RandomCAM"
MEASURES = ("pointing_box", "pointing_polygon", "energy_box", "energy_polygon")
PARTS = ("heads", "neck", "backbone")
COLOURS = {"right": DETECTION, "wrong": "red", "missed": GROUND_TRUTH}


def rows_to_draw(look: Look, params: GradCamParams) -> list[int]:
    """Choose the best detections, further false positives, and missed objects: indices of detections, then missed."""
    best = list(range(len(look.detections)))[: params.max_boxes]
    wrong = [row for row, box in enumerate(look.detections) if box.kind == "wrong" and row not in best]
    missed = [len(look.detections) + row for row in range(len(look.missed))]
    return best + wrong[: params.max_mistakes] + missed[: params.max_mistakes]


def heading(look: Look, method: str, params: GradCamParams) -> str:
    """Say what a picture explains."""
    found = len(look.detections)
    detections = f"{found or 'no'} detection{'' if found == 1 else 's'} of {params.score_threshold:g} or more"
    explained = {"score": "class score", "box": "box regression", "both": "class score and box regression"}
    return f"{method} of the {explained[params.target]}: {detections}, {len(look.missed)} missed"


def draw(
    look: Look,
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
            shares = [_mean(values[method, curve, fraction]) for fraction in FRACTIONS]
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


def metrics_of(
    boxes: list[tuple[str, str]],
    values: dict[Key, list[float]],
    steps: list[tuple[str, str]],
    correlations: dict[str, list[float]],
    names: list[str],
) -> dict[str, Any]:
    """Count what was explained and average by method; None where there is nothing to average.

    Args:
        boxes: kind and level of each.
        values: by method, level and measure, a value each detection.
        steps: the part and path that each step made random.
        correlations: by method, a step each.
        names: of the levels.
    """
    last_of = {part: index for index, (part, _) in enumerate(steps)}

    def mean_curve(method: str, curve: str) -> float | None:
        return _mean([share for fraction in FRACTIONS for share in values[method, curve, fraction]])

    metrics = {kind: sum(box[0] == kind for box in boxes) for kind in COLOURS}
    found = [level for kind, level in boxes if kind != "missed"]
    metrics |= {"detections": len(found), "made_at": {name: found.count(name) for name in names}}
    metrics["chance"] = {where: _mean(values["chance", "own", where]) for where in ("box", "polygon")}
    for method, by_step in correlations.items():
        levels = ("own", "sum", "untrained", *names)
        metrics[method] = {level: {name: _mean(values[method, level, name]) for name in MEASURES} for level in levels}
        metrics[method] |= {curve: mean_curve(method, curve) for curve in ("deletion", "insertion")}
        metrics[method]["randomised"] = {part: _rounded(by_step[last_of[part]]) for part in PARTS}
    metrics[BOX_CENTRE] = {curve: mean_curve(BOX_CENTRE, curve) for curve in ("deletion", "insertion")}
    return metrics


def summary_of(metrics: dict, method: str) -> dict[str, float | None]:
    """Pick what tells two runs apart, flat: the drawn method at the level that made the box, beside RandomCAM."""
    summary = {f"explained_{kind}": metrics[kind] for kind in COLOURS}
    for prefix, name in (("CAM", method), (BASELINE, BASELINE)):
        summary |= {f"{prefix}_{measure}": metrics[name]["own"][measure] for measure in MEASURES}
        summary |= {f"{prefix}_{curve}": metrics[name][curve] for curve in ("deletion", "insertion")}
    summary["CAM_random_heads"] = metrics[method]["randomised"]["heads"]
    return summary


def write_curves(
    folder: Path,
    values: dict[Key, list[float]],
    steps: list[tuple[str, str]],
    correlations: dict[str, list[float]],
    method: str,
) -> None:
    """Write the curves of the drawn method for `dvc plots`, which wants the same fields in every run."""
    curves = {"deletion": (method, "deletion"), "insertion": (method, "insertion")}
    curves |= {"random_deletion": (BASELINE, "deletion"), "random_insertion": (BASELINE, "insertion")}
    rows = [
        {"percent": 100 * fraction} | {name: _mean(values[*curve, fraction]) for name, curve in curves.items()}
        for fraction in FRACTIONS
        if values[method, "deletion", fraction]
    ]
    write_csv(folder / "perturbation.csv", rows, ["percent", *curves])
    rows = [
        {"step": step, "rank_correlation": _rounded(value)}
        for step, value in enumerate(correlations[method], start=1)
        if value is not None
    ]
    start = [{"step": 0, "rank_correlation": 1.0}] if rows else []
    write_csv(folder / "randomisation.csv", start + rows, ["step", "rank_correlation"])


def _mean(values: list[float]) -> float | None:
    return _rounded(float(np.mean(values))) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def main() -> None:
    """Explain, measure, draw."""
    keep_freed_memory()
    recipe = read_recipe()
    params = recipe.grad_cam
    device = pick_device(recipe.train.device, recipe.train.deterministic)
    network, spec = load_network(MODEL_DIR, device, recipe.model.test_wh)
    names = level_names(network)
    coco = read_json(COCO_PATH)
    annotations = by_image(coco["annotations"])
    methods = list(dict.fromkeys([*params.methods, BASELINE]))

    anchors = anchors_of(network, device)
    boxes, checked, values = [], [], defaultdict(list)
    with replaced_dir(PLOTS_DIR / "images") as folder:
        for number, entry in enumerate(tqdm(coco["images"], desc="explain", unit="img")):
            look = look_at(
                network, spec, IMAGE_DIR, coco, entry, annotations[entry["id"]], anchors, params, recipe.train.seed
            )
            slow, drawn = number < params.checked_images, number < params.max_images
            explained = [*look.detections, *look.missed]
            boxes += [(box.kind, names[box.target.level]) for box in explained]
            # Missed objects are drawn, not measured: nothing was found that a map could lie in.
            coarse = {method: coarse_maps(method, network, look.passed, look.detections) for method in methods}
            if drawn:
                coarse[methods[0]] += coarse_maps(methods[0], network, look.passed, look.missed[: params.max_mistakes])
            maps = {method: [enlarged(mine, look.letterbox) for mine in coarse[method]] for method in methods}
            for key, value in measure_image(network, look, maps, names, slow):
                values[key].append(value)
            if slow:
                checked.append(to_check(look, coarse))
            if drawn:
                figure = draw(look, rows_to_draw(look, params), maps[methods[0]], names, methods[0], params)
                save_figure(figure, picture_path(folder, entry["file_name"]))
    steps, correlations, untrained = randomisation(network, spec, checked, methods, recipe.train.seed, device)
    values |= untrained
    metrics = metrics_of(boxes, values, steps, correlations, names)
    save_figure(draw_methods(values, steps, correlations), PLOTS_DIR / "methods.png")
    write_curves(PLOTS_DIR, values, steps, correlations, methods[0])
    write_json(METRICS_PATH, metrics)
    write_json(SUMMARY_PATH, summary_of(metrics, methods[0]))
    print(f"{metrics['detections']} detections explained on {len(coco['images'])} validation images")


if __name__ == "__main__":
    run_stage(main, __doc__)
