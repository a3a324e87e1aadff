"""Sizes of the ground-truth boxes against those of the anchors: rows and a plot, in px of the input."""

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from torch import nn

from viadet.images.letterbox import letterbox_of
from viadet.network.anchors import anchors_of
from viadet.network.build import level_names

SIZES_PX = range(0, 641, 16)  # the same in every run, so that the curves of two runs overlay
TICKS_PX = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)


def box_sizes_wh(coco: dict, input_wh: tuple[int, int]) -> np.ndarray:
    """Compute the sizes of all boxes of a COCO data set in px of the network's input, [N, 2]."""
    scales = {i["id"]: letterbox_of(i["width"], i["height"], input_wh).scale_xy for i in coco["images"]}
    sizes_wh = [np.multiply(a["bbox"][2:], scales[a["image_id"]]) for a in coco["annotations"]]
    return np.array(sizes_wh).reshape(-1, 2)


def anchor_sizes_wh(network: nn.Module) -> dict[str, np.ndarray]:
    """List the distinct anchor sizes of each level (P3...) in px of the network's input, [shapes, 2] each."""
    anchors_yxyx, levels = anchors_of(network, torch.device("cpu"))
    sizes_wh = (anchors_yxyx[:, 2:] - anchors_yxyx[:, :2]).flip(1).round(decimals=1)
    return {name: sizes_wh[levels == i].unique(dim=0).numpy() for i, name in enumerate(level_names(network))}


def size_rows(boxes_wh: dict[str, np.ndarray]) -> list[dict[str, float]]:
    """List for each of SIZES_PX the share of each split's boxes [N, 2] up to this size, the root of their area."""
    box_sizes = {split: np.sqrt(split_wh.prod(axis=1)) for split, split_wh in boxes_wh.items()}
    return [
        {"size": size}
        | {split: float(np.mean(sizes <= size)) if len(sizes) else 0.0 for split, sizes in box_sizes.items()}
        for size in SIZES_PX
    ]


def draw_box_sizes(boxes_wh: np.ndarray, anchors_wh: dict[str, np.ndarray], input_wh: tuple[int, int]) -> Figure:
    """Plot sizes and aspect ratios of boxes [N, 2] and of anchors by level, all in px of the network's input.

    A box far from every anchor is hard to learn.
    """
    figure = Figure(figsize=(14, 6), layout="constrained")
    sizes, ratios = figure.subplots(1, 2)
    sizes.scatter(*boxes_wh.T, s=12, color="0.35", alpha=0.6, label=f"boxes ({len(boxes_wh)})")
    for index, (level, shapes_wh) in enumerate(anchors_wh.items()):
        sizes.scatter(*shapes_wh.T, s=60, marker="x", color=f"C{index}", label=f"anchors of {level}")
    sizes.set(xscale="log", yscale="log")
    ticks = [tick for tick in TICKS_PX if tick <= 2 * max(input_wh)]
    for axis in (sizes.xaxis, sizes.yaxis):
        axis.set_ticks(ticks, [str(tick) for tick in ticks])
        axis.set_minor_locator(NullLocator())
    width, height = input_wh
    sizes.set(xlabel="width [px]", ylabel="height [px]", title=f"Box sizes in an input of {width} x {height} px")
    sizes.legend(loc="upper left")

    ratios.hist(np.log2(boxes_wh[:, 0] / boxes_wh[:, 1]), bins=31, range=(-2, 2), color="0.6", label="boxes")
    # Anchors have the same ratios in all levels.
    for ratio in sorted({round(float(np.log2(width / height)), 2) for width, height in anchors_wh["P5"]}):
        ratios.axvline(ratio, color="C1", linestyle="--", label="anchors" if ratio == 0 else None)
    ratios.set(xlabel="width : height", ylabel="boxes", title="Aspect ratios")
    ratios.set_xticks([-2, -1, 0, 1, 2], ["1:4", "1:2", "1:1", "2:1", "4:1"])
    ratios.legend()
    return figure
