"""Sizes of the ground-truth boxes against those of the anchors: rows, a plot, warnings; all in px of the input."""

import math
from collections import Counter
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from torch import nn

from viadet.images.letterbox import letterbox_of
from viadet.network.anchors import anchors_of
from viadet.network.build import effdet_config, level_names
from viadet.network.effdet_parts import get_feat_sizes
from viadet.project.counting import counted, first_names
from viadet.project.params import SIDE_PX, ModelParams

SIZES_PX = range(0, 641, 16)  # the same in every run, so that the curves of two runs overlay
FITTED_SHARE = 0.95  # of the boxes, from which on nothing is proposed
FITTING_IOU = 0.5  # of a box and an anchor, from which on effdet's labels let the anchor learn the box
ANCHOR_SCALES = (2.0, 2.5, 3.0, 4.0, 5.0, 6.0)  # below 2, the smallest anchors leave gaps between each other
TILES = (2, 3, 4, 5, 6, 8, 12, 16)  # of a side
SIDE_STEP_PX = 128  # of the proposed sizes
SEARCHED_BOXES = 5000  # by which proposals are compared; the one that is made is computed for all
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


def crowded_images(cocos: list[dict], max_detections: int) -> list[str]:
    """Warn, in at most one line, of images with more objects than the detector gives detections."""
    counts = Counter()
    for coco in cocos:
        names = {image["id"]: image["file_name"] for image in coco["images"]}
        counts.update(names[annotation["image_id"]] for annotation in coco["annotations"])
    crowded = [name for name, count in counts.most_common() if count > max_detections]
    if not crowded:
        return []
    most = counts[crowded[0]]
    return [
        f"{counted(len(crowded), 'image')} with more objects than evaluate.max_detections ({max_detections}), "
        f"up to {most}: {first_names(crowded)}; set it to {math.ceil(most / 100) * 100} or more"
    ]


class BoxesInImages(NamedTuple):
    """Boxes of any images, and the size of each one's image; px of the image."""

    boxes_xywh: np.ndarray  # [N, 4]
    images_wh: np.ndarray  # [N, 2]


class Proposal(NamedTuple):
    """What an input could be like."""

    input_wh: tuple[int, int]  # px
    anchor_scale: float
    tiles: int = 1  # into which each side of an image is cut

    def text(self) -> str:
        """Name the params, and the tiles before them."""
        width, height = self.input_wh
        size = width if width == height else [width, height]
        tiles = f"images cut into {self.tiles} x {self.tiles} tiles, " if self.tiles > 1 else ""
        return f"{tiles}model.image_size {size} and model.anchor_scale {self.anchor_scale:g}"


def unfitting_boxes(cocos: list[dict], model: ModelParams) -> list[str]:
    """Warn, in at most one line, of boxes without an anchor that effdet's labels would choose for its IoU.

    Such a box is learnt by its best anchor alone. What the line proposes is computed as well: the smallest input, or
    else the fewest tiles, by which FITTED_SHARE of the boxes have an anchor; if nothing does, what fits most.
    """
    boxes = boxes_in_images(cocos)
    count = len(boxes.boxes_xywh)
    fitted = round(count * fitted_share(boxes, model.name, Proposal(model.input_wh, model.anchor_scale)))
    if fitted == count:
        return []
    line = (
        f"{count - fitted} of {count} boxes {'has' if count - fitted == 1 else 'have'} no anchor with an IoU of "
        f"{FITTING_IOU} in the input of {model.input_wh[0]} x {model.input_wh[1]} px: only the best one learns each"
    )
    if fitted >= FITTED_SHARE * count:
        return [line]
    some = BoxesInImages(*(values[:: math.ceil(count / SEARCHED_BOXES)] for values in boxes))
    best_share, best = 0.0, None
    for proposal in proposals(model.input_wh):
        if best_share < FITTED_SHARE and (share := fitted_share(some, model.name, proposal)) > best_share:
            best_share, best = share, proposal
    share = best and fitted_share(boxes, model.name, best)
    if not share or round(share * count) <= fitted:
        return [f"{line}; no model.image_size or model.anchor_scale and no tiles fit more"]
    return [f"{line}; {best.text()} would fit {math.floor(100 * share)}%"]


def proposals(input_wh: tuple[int, int]) -> list[Proposal]:
    """List larger inputs, then tiles in the present one, each with all ANCHOR_SCALES: the smallest first."""
    longest = max(input_wh)
    sides = range(longest, SIDE_PX[1] + 1, SIDE_STEP_PX)
    inputs_wh = [tuple(max(SIDE_PX[0], round(side * s / longest / 32) * 32) for s in input_wh) for side in sides]
    larger = [Proposal(larger_wh, scale) for larger_wh in inputs_wh for scale in ANCHOR_SCALES]
    return larger + [Proposal(input_wh, scale, tiles) for tiles in TILES for scale in ANCHOR_SCALES]


def boxes_in_images(cocos: list[dict]) -> BoxesInImages:
    """Collect the boxes of COCO data sets."""
    boxes_xywh, images_wh = [], []
    for coco in cocos:
        sizes_wh = {image["id"]: (image["width"], image["height"]) for image in coco["images"]}
        boxes_xywh += [annotation["bbox"] for annotation in coco["annotations"]]
        images_wh += [sizes_wh[annotation["image_id"]] for annotation in coco["annotations"]]
    return BoxesInImages(np.array(boxes_xywh, float).reshape(-1, 4), np.array(images_wh, int).reshape(-1, 2))


def fitted_share(boxes: BoxesInImages, name: str, proposal: Proposal) -> float:
    """Compute the share of boxes with an anchor of FITTING_IOU or more; a box lies in the tile of its centre."""
    if not len(boxes.boxes_xywh):
        return 1.0
    tiles_wh = -(-boxes.images_wh // proposal.tiles)
    corners_xy, sizes_wh = boxes.boxes_xywh[:, :2], boxes.boxes_xywh[:, 2:]
    corners_xy = corners_xy - (corners_xy + sizes_wh / 2) // tiles_wh * tiles_wh
    distinct_wh, rows = np.unique(tiles_wh, axis=0, return_inverse=True)
    scales_xy = np.array([letterbox_of(*tile_wh, proposal.input_wh).scale_xy for tile_wh in distinct_wh.tolist()])[rows]
    ious = best_ious(np.hstack([corners_xy * scales_xy, sizes_wh * scales_xy]), name, proposal)
    return float(np.mean(ious >= FITTING_IOU))


def best_ious(boxes_xywh: np.ndarray, name: str, proposal: Proposal) -> np.ndarray:
    """Compute the best IoU of each box [N, 4] with any of a network's anchors, in px of the input, [N].

    Of the anchors of one shape it is the one with the nearest centre, in x and in y: no other overlaps more.
    """
    config = effdet_config(name)
    cells_hw = get_feat_sizes(proposal.input_wh[::-1], config.max_level)[config.min_level :]
    octaves = [2 ** (octave / config.num_scales) for octave in range(config.num_scales)]
    sizes_wh = boxes_xywh[:, 2:]
    centres_xy = boxes_xywh[:, :2] + sizes_wh / 2
    best = np.zeros(len(boxes_xywh))
    for cells_wh in np.array(cells_hw)[:, ::-1]:
        stride_xy = np.array(proposal.input_wh) / cells_wh
        nearest_xy = (np.clip(centres_xy // stride_xy, 0, cells_wh - 1) + 0.5) * stride_xy
        distances_xy = abs(centres_xy - nearest_xy)
        for octave, aspect_wh in product(octaves, config.aspect_ratios):
            anchor_wh = proposal.anchor_scale * octave * stride_xy * np.array(aspect_wh)
            reach_wh = (sizes_wh + anchor_wh) / 2 - distances_xy
            overlaps = np.minimum(np.minimum(sizes_wh, anchor_wh), reach_wh).clip(0).prod(1)
            best = np.maximum(best, overlaps / (sizes_wh.prod(1) + anchor_wh.prod() - overlaps))
    return best


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
