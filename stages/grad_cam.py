"""Show why the detector sees an object there, or sees none, and measure whether that explanation means anything.

Class activation maps of the detections, right and wrong, and of the missed objects through the anchors nearest to them,
at each level of the neck. Measured over all detections: whether a map points into the box and the polygon, how much of
its energy lies there, what happens to the score when its pixels are taken away, and whether it changes when the weights
become random.

Reads   data/model/, data/coco/val.json, data/raw/val/
Writes  plots/grad_cam/images/: a picture an image, a row for each explained box; plots/grad_cam/methods.png,
        plots/grad_cam/{perturbation,randomisation}.csv; metrics/grad_cam.json
Run     dvc repro grad_cam
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn
from tqdm import tqdm

from stages.detection.cam import Pass, Target, anchors_near, cams, forward_pass, gradients_of
from stages.detection.cli import run_stage
from stages.detection.coco import boxes_xyxy_of, by_image
from stages.detection.detect import anchors_of, decode, to_coco_results
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
from stages.detection.faithfulness import FRACTIONS, deletion_insertion, randomised_networks, rank_correlation
from stages.detection.files import read_json, replaced_dir, write_csv, write_json
from stages.detection.images import Letterbox, letterbox_image, letterbox_of, polygon_mask, read_image
from stages.detection.maps import centre_map, crop_cells, crop_map, energy_share, inside_box, points_inside
from stages.detection.network import (
    NetworkSpec,
    keep_freed_memory,
    level_names,
    load_network,
    pick_device,
    prepare_images,
)
from stages.detection.params import GradCamParams, read_recipe
from stages.detection.scoring import matched_annotations, run_cocoeval

MODEL_DIR = Path("data/model")
COCO_PATH = Path("data/coco/val.json")
IMAGE_DIR = Path("data/raw/val")
PLOTS_DIR = Path("plots/grad_cam")
METRICS_PATH = Path("metrics/grad_cam.json")
BASELINE = "RandomCAM"
BOX_CENTRE = "BoxCentre"  # no method, but a map drawn from the box alone
Key = tuple[str, str, str | float]  # method, level, measure
MEASURES = ("pointing_box", "pointing_polygon", "energy_box", "energy_polygon")
PARTS = ("heads", "neck", "backbone")
COLOURS = {"right": DETECTION, "wrong": "red", "missed": GROUND_TRUTH}


class Explained(NamedTuple):
    """A box and why the network sees it, or does not; px of the network's input."""

    kind: str  # right, wrong (a false positive) or missed
    box_xyxy: np.ndarray  # float32 [4]
    polygon: torch.Tensor | None  # of the object, float32 [points, 2]; a false positive has none
    score: float  # of a missed object: the best of its anchors
    target: Target
    gradients: list[np.ndarray | None]  # by level
    seed: tuple[int, ...]


class Look(NamedTuple):
    """One image with what the network finds and misses in it."""

    square: torch.Tensor  # uint8 [3, S, S], the network's input
    letterbox: Letterbox
    passed: Pass
    detections: list[Explained]  # best first
    missed: list[Explained]  # largest first


class Checked(NamedTuple):
    """What the slow checks of an image need after its pass is gone."""

    square: torch.Tensor
    letterbox: Letterbox
    explained: list[Explained]  # without gradients
    own_maps: dict[str, list[np.ndarray]]  # by method, of each box, [h, w] of the whole input


def look_at(
    network: nn.Module,
    spec: NetworkSpec,
    coco: dict,
    entry: dict,
    annotations: list[dict],
    anchors: tuple[torch.Tensor, torch.Tensor],
    params: GradCamParams,
    seed: int,
) -> Look:
    """Run the network on one image of a COCO data set and compare what it finds with the image's annotations.

    Args:
        network: in eval mode.
        spec: what it was built from.
        coco: the data set.
        entry: the image.
        annotations: of this image.
        anchors: the network's, by `anchors_of`; the image goes to their device.
        params: what is explained.
        seed: of RandomCAM.
    """
    anchors_yxyx, levels = anchors
    device = anchors_yxyx.device
    image = read_image(IMAGE_DIR / entry["file_name"])
    letterbox = letterbox_of(image.shape[2], image.shape[1], spec.image_size)
    square = letterbox_image(image, spec.image_size, spec.fill_rgb)
    passed = forward_pass(network, prepare_images(square[None], spec, device))
    logits, codes = passed.logits.detach(), passed.codes.detach()
    found = decode(logits, codes, anchors_yxyx, levels, letterbox).best(params.score_threshold)

    results = to_coco_results(found, entry["id"], entry["width"], entry["height"], spec.image_size)
    alone = {**coco, "images": [entry], "annotations": annotations}
    matches = matched_annotations(run_cocoeval(alone, results))
    truth = {annotation["id"]: annotation for annotation in annotations}

    def explain(kind: str, box_xyxy: torch.Tensor, annotation: dict | None, score: float, target: Target) -> Explained:
        polygon = None
        if annotation is not None:
            points = torch.tensor(annotation["segmentation"][0], dtype=torch.float32).view(-1, 2)
            polygon = points * torch.tensor(letterbox.scale_xy)
        # The same for the same anchor of the same image, whatever else is explained.
        own_seed = (seed, entry["id"], int(target.anchors[0]))
        return Explained(kind, box_xyxy.cpu().numpy(), polygon, score, target, gradients_of(passed, target), own_seed)

    detections = []
    for index, (box_xyxy, score, label, anchor, level) in enumerate(zip(*found, strict=True)):
        annotation = truth.get(matches.get(index))
        target = Target(anchor[None], int(label), int(level), params.target)
        kind = "wrong" if annotation is None else "right"
        detections.append(explain(kind, box_xyxy, annotation, float(score), target))
    missed = []
    for annotation in sorted(annotations, key=lambda annotation: -annotation["area"]):
        if annotation["id"] not in matches.values():
            box_xyxy = (boxes_xyxy_of([annotation])[0] * torch.tensor(letterbox.scale_xy * 2)).to(device)
            near, label = anchors_near(anchors_yxyx, box_xyxy), annotation["category_id"]
            score = float(logits[near, label - 1].max().sigmoid())
            target = Target(near, label, int(levels[near[0]]), params.target)
            missed.append(explain("missed", box_xyxy, annotation, score, target))
    return Look(square, letterbox, passed, detections, missed)


def coarse_maps(
    method: str, network: nn.Module, passed: Pass, explained: list[Explained], own_only: bool = False
) -> list[dict[int, np.ndarray]]:
    """Compute a method's maps of some boxes, by level, [h, w] of the whole input."""
    targets, gradients = [box.target for box in explained], [box.gradients for box in explained]
    return cams(method, network, passed, targets, gradients, [box.seed for box in explained], own_only)


def enlarged(coarse: dict[int, np.ndarray], image: Look | Checked) -> dict[int, np.ndarray]:
    """Enlarge the maps of one box, by level, to the px of the photograph in the input, [H, W]."""
    size = image.square.shape[-1]
    return {level: crop_map(torch.from_numpy(heat), size, image.letterbox).numpy() for level, heat in coarse.items()}


def to_check(look: Look, coarse: dict[str, list[dict[int, np.ndarray]]]) -> Checked:
    """Keep of an image what the check with random weights needs; its pass and gradients would fill the memory."""
    boxes = [box._replace(gradients=[]) for box in look.detections]
    own_maps = {
        method: [maps[row][box.target.level] for row, box in enumerate(boxes)] for method, maps in coarse.items()
    }
    return Checked(look.square, look.letterbox, boxes, own_maps)


def sum_of(maps: dict[int, np.ndarray]) -> np.ndarray:
    """Add up what is positive in the maps of all levels, [H, W] each."""
    return np.sum([np.maximum(heat, 0) for heat in maps.values()], axis=0)


def masks_of(box: Explained, letterbox: Letterbox) -> dict[str, np.ndarray]:
    """Mark the pixels of a detection's box, and of the polygon of the object that it found, bool [H, W]."""
    masks = {"box": inside_box((letterbox.height, letterbox.width), box.box_xyxy)}
    if box.polygon is not None:
        masks["polygon"] = polygon_mask(box.polygon, letterbox.width, letterbox.height).numpy()
    return masks


def measure_map(heat: np.ndarray, masks: dict[str, np.ndarray]) -> dict[str, float]:
    """Measure where a map [H, W] points and where its energy lies; what is negative does not count."""
    heat = np.maximum(heat, 0)
    return {f"pointing_{where}": float(points_inside(heat, inside)) for where, inside in masks.items()} | {
        f"energy_{where}": energy_share(heat, inside) for where, inside in masks.items()
    }


def measure_image(
    network: nn.Module, look: Look, maps: dict[str, list[dict[int, np.ndarray]]], names: list[str], slow: bool
) -> Iterator[tuple[Key, float]]:
    """Measure all detections of an image.

    Args:
        network: the one that made the maps.
        look: the image.
        maps: by method, of each detection, by level, [H, W] px of the photograph in the input.
        names: of the levels.
        slow: whether pixels are taken away and shown, too.

    Yields:
        (method, level, measure) and its value for one detection. Levels are those that take part in the detection, the
        one that made it (`own`) and the `sum` of all. `chance` is what a map without any preference has. Deletion and
        insertion come in place of a level, with the fraction of pixels as the measure; BoxCentre has nothing else.
    """
    for row, box in enumerate(look.detections):
        masks = masks_of(box, look.letterbox)
        yield from ((("chance", "own", where), float(inside.mean())) for where, inside in masks.items())
        ranked = {BOX_CENTRE: centre_map(masks["box"].shape, box.box_xyxy)}
        for method in maps:
            heats = {names[level]: heat for level, heat in maps[method][row].items()}
            ranked[method] = heats[names[box.target.level]]
            heats |= {"own": ranked[method], "sum": sum_of(maps[method][row])}
            for level, heat in heats.items():
                yield from (((method, level, name), value) for name, value in measure_map(heat, masks).items())
        for method, heat in ranked.items() if slow else ():
            curves = deletion_insertion(network, look.passed, heat, box.target)
            for curve, shares in zip(("deletion", "insertion"), curves, strict=True):
                yield from (((method, curve, f), share) for f, share in zip(FRACTIONS, shares, strict=True))


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
    photograph = look.square[:, : look.letterbox.height, : look.letterbox.width]
    grey = greyed(photograph)
    # A cell is no narrower than its title, which leaves room for taller portraits.
    cell = cell_of(photograph, 2.6 if look.letterbox.width >= look.letterbox.height else 3.4)
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
        ylim=(-0.3, 1.05),
    )
    panels[2].axhline(0, color="0.8", linewidth=1)
    panels[2].tick_params("x", rotation=60)
    if panels[0].lines:
        figure.legend(handles=panels[0].lines, loc="outside lower left", ncols=5)
    return figure


def randomisation(
    network: nn.Module, spec: NetworkSpec, checked: list[Checked], methods: list[str], seed: int, device: torch.device
) -> tuple[list[tuple[str, str]], dict[str, list[float]], dict[Key, list[float]]]:
    """Compare the maps of all checked detections with those of networks whose weights become random.

    Returns:
        The steps, (part, path) each; by method the mean rank correlation after each step; and as from `measure_image`,
        with `untrained` as the level, what maps of the wholly random network measure at the level that made the box.
    """
    steps, correlations, values = [], {method: [] for method in methods}, defaultdict(list)
    total = sum(1 for _ in randomised_networks(network, spec, seed))
    for part, path, random_network in tqdm(
        randomised_networks(network, spec, seed), desc="random weights", unit="step", total=total
    ):
        steps.append((part, path))
        by_method = defaultdict(list)
        for image in checked:
            passed = forward_pass(random_network, prepare_images(image.square[None], spec, device))
            boxes = [box._replace(gradients=gradients_of(passed, box.target)) for box in image.explained]
            for method in methods:
                maps = coarse_maps(method, random_network, passed, boxes, own_only=True)
                for box, mine, real in zip(boxes, maps, image.own_maps[method], strict=True):
                    pair = torch.from_numpy(mine[box.target.level]), torch.from_numpy(real)
                    cells = [crop_cells(map_, spec.image_size, image.letterbox).numpy() for map_ in pair]
                    by_method[method].append(rank_correlation(*cells))
                    if len(steps) == total:
                        (heat,) = enlarged(mine, image).values()
                        for name, value in measure_map(heat, masks_of(box, image.letterbox)).items():
                            values[method, "untrained", name].append(value)
        for method in methods:
            correlations[method].append(_mean(by_method[method]))
    return steps, correlations, values


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
        metrics[method]["randomised"] = {part: by_step[last_of[part]] for part in PARTS}
    metrics[BOX_CENTRE] = {curve: mean_curve(BOX_CENTRE, curve) for curve in ("deletion", "insertion")}
    return metrics


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
        {"step": step, "rank_correlation": value}
        for step, value in enumerate(correlations[method], start=1)
        if value is not None
    ]
    start = [{"step": 0, "rank_correlation": 1.0}] if rows else []
    write_csv(folder / "randomisation.csv", start + rows, ["step", "rank_correlation"])


def _mean(values: list[float]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None


def main() -> None:
    """Explain, measure, draw."""
    keep_freed_memory()
    recipe = read_recipe()
    params = recipe.grad_cam
    device = pick_device(recipe.train.device)
    network, spec = load_network(MODEL_DIR, device)
    names = level_names(network)
    coco = read_json(COCO_PATH)
    annotations = by_image(coco["annotations"])
    methods = list(dict.fromkeys([*params.methods, BASELINE]))

    anchors = anchors_of(network, device)
    boxes, checked, values = [], [], defaultdict(list)
    with replaced_dir(PLOTS_DIR / "images") as folder:
        for number, entry in enumerate(tqdm(coco["images"], desc="explain", unit="img")):
            look = look_at(network, spec, coco, entry, annotations[entry["id"]], anchors, params, recipe.train.seed)
            slow, drawn = number < params.checked_images, number < params.max_images
            explained = [*look.detections, *look.missed]
            boxes += [(box.kind, names[box.target.level]) for box in explained]
            # Missed objects are drawn, not measured: nothing was found that a map could lie in.
            coarse = {method: coarse_maps(method, network, look.passed, look.detections) for method in methods}
            if drawn:
                coarse[methods[0]] += coarse_maps(methods[0], network, look.passed, look.missed[: params.max_mistakes])
            maps = {method: [enlarged(mine, look) for mine in coarse[method]] for method in methods}
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
    print(f"{metrics['detections']} detections explained on {len(coco['images'])} validation images")


if __name__ == "__main__":
    run_stage(main, __doc__)
