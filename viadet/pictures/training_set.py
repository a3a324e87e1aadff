"""Pictures of the training set."""

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from torch import nn

from viadet.augmentation.objects import Sample, Scene
from viadet.images.letterbox import letterbox_of
from viadet.network.boxes import anchors_of
from viadet.network.build import level_names
from viadet.pictures.drawing import GROUND_TRUTH, draw_boxes, draw_polygons, new_figure, show_image

GRID = (4, 2)  # columns, rows
SIZES_PX = range(0, 641, 16)  # the same in every run, so that the curves of two runs overlay


def draw_training_set(scenes: list[Scene]) -> Figure:
    """Draw photographs with their polygons and boxes."""
    figure, axes = new_figure(*GRID, cell_wh_inches=(4, 4))
    for ax, scene in zip(axes, scenes, strict=False):
        boxes_xyxy = [torch.cat([polygon.amin(0), polygon.amax(0)]) for polygon in scene.polygons]
        show_image(ax, scene.image)
        draw_polygons(ax, scene.polygons, GROUND_TRUTH)
        draw_boxes(ax, torch.stack(boxes_xyxy) if boxes_xyxy else torch.zeros(0, 4), GROUND_TRUTH)
    return figure


def draw_augmented(samples: list[Sample]) -> Figure:
    """Draw network inputs with the boxes that training sees."""
    figure, axes = new_figure(*GRID, cell_wh_inches=(4, 4))
    for ax, sample in zip(axes, samples, strict=False):
        show_image(ax, sample.image)
        draw_boxes(ax, sample.boxes_xyxy, GROUND_TRUTH)
    return figure


def box_sizes_wh(coco: dict, input_wh: tuple[int, int]) -> np.ndarray:
    """Collect the sizes of all boxes in px of the network's input, [N, 2]."""
    scales = {i["id"]: letterbox_of(i["width"], i["height"], input_wh).scale_xy for i in coco["images"]}
    sizes = [np.multiply(a["bbox"][2:], scales[a["image_id"]]) for a in coco["annotations"]]
    return np.array(sizes).reshape(-1, 2)


def anchor_sizes_wh(network: nn.Module) -> dict[str, np.ndarray]:
    """Collect the distinct anchor sizes of each level in px of the network's input, [shapes, 2] each."""
    anchors_yxyx, levels = anchors_of(network, torch.device("cpu"))
    sizes_wh = (anchors_yxyx[:, 2:] - anchors_yxyx[:, :2]).flip(1).round(decimals=1)
    return {name: sizes_wh[levels == i].unique(dim=0).numpy() for i, name in enumerate(level_names(network))}


def size_rows(boxes_wh: dict[str, np.ndarray]) -> list[dict[str, float]]:
    """Tell which share of each split's boxes is no larger than a size, the root of their area."""
    sizes = {split: np.sqrt(sizes_wh.prod(axis=1)) for split, sizes_wh in boxes_wh.items()}
    return [
        {"size": size} | {split: float(np.mean(mine <= size)) if len(mine) else 0.0 for split, mine in sizes.items()}
        for size in SIZES_PX
    ]


def draw_box_shapes(boxes_wh: np.ndarray, anchors_wh: dict[str, np.ndarray], input_wh: tuple[int, int]) -> Figure:
    """Plot sizes and aspect ratios of boxes and anchors: a box far from every anchor is hard to learn."""
    figure = Figure(figsize=(14, 6), layout="constrained")
    sizes, ratios = figure.subplots(1, 2)
    sizes.scatter(*boxes_wh.T, s=12, color="0.35", alpha=0.6, label=f"boxes ({len(boxes_wh)})")
    ratios.hist(np.log2(boxes_wh[:, 0] / boxes_wh[:, 1]), bins=31, range=(-2, 2), color="0.6", label="boxes")
    for index, (level, shapes_wh) in enumerate(anchors_wh.items()):
        sizes.scatter(*shapes_wh.T, s=60, marker="x", color=f"C{index}", label=f"anchors of {level}")
    for ratio in sorted({round(float(np.log2(w / h)), 2) for w, h in anchors_wh["P5"]}):
        ratios.axvline(ratio, color="C1", linestyle="--", label="anchors" if ratio == 0 else None)
    ticks = [size for size in (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048) if size <= 2 * max(input_wh)]
    sizes.set(xscale="log", yscale="log")
    for axis in (sizes.xaxis, sizes.yaxis):
        axis.set_ticks(ticks, [str(tick) for tick in ticks])
        axis.set_minor_locator(NullLocator())
    width, height = input_wh
    sizes.set(xlabel="width [px]", ylabel="height [px]", title=f"Box sizes in an input of {width} x {height} px")
    sizes.legend(loc="upper left")
    ratios.set(xlabel="width : height", ylabel="boxes", title="Aspect ratios")
    ratios.set_xticks([-2, -1, 0, 1, 2], ["1:4", "1:2", "1:1", "2:1", "4:1"])
    ratios.legend()
    return figure
