"""Sizes of the ground-truth boxes against those of the anchors: rows, a plot, warnings; all in px of the input."""

import math
from collections import Counter
from itertools import groupby
from operator import itemgetter

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from torch import nn

from viadet.augmentation.objects import MIN_SIDE_PX
from viadet.images.letterbox import letterbox_of
from viadet.network.anchors import anchors_of
from viadet.network.build import level_names
from viadet.project.counting import counted, first_names
from viadet.project.params import P3_STRIDE_PX, SIDE_PX, TrainParams

SIZES_PX = range(0, 641, 16)  # the same in every run, so that the curves of two runs overlay
FITTED_SHARE = 0.95  # of the boxes that the proposed sizes fit
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


def small_boxes(boxes_wh: np.ndarray, input_wh: tuple[int, int], anchor_scale: float) -> list[str]:
    """Warn, in at most one line, of boxes smaller than the smallest anchor; propose sizes that fit them.

    Args:
        boxes_wh: in px of the input, [N, 2].
        input_wh: size of the input in training, px.
        anchor_scale: side of the smallest anchor, in strides.
    """
    sizes = sorted(np.sqrt(boxes_wh.prod(axis=1)).tolist())
    anchor_px = anchor_scale * P3_STRIDE_PX
    small = sum(size < anchor_px for size in sizes)
    if not small:
        return []
    size = sizes[int((1 - FITTED_SHARE) * len(sizes))]
    line = (
        f"{small} of {len(sizes)} boxes {'is' if small == 1 else 'are'} smaller than the smallest anchor, "
        f"which has {anchor_px:g} px in the input of {input_wh[0]} x {input_wh[1]} px"
    )
    if size >= anchor_px:
        return [line]
    sides = [math.ceil(side * anchor_px / size / 128) * 128 for side in input_wh]
    scale = math.floor(size / P3_STRIDE_PX * 2) / 2
    choices = [f"model.image_size {sides[0] if len(set(sides)) == 1 else sides}"] if max(sides) <= SIDE_PX[1] else []
    choices += [f"model.anchor_scale {scale}"] if scale >= 0.5 else []
    proposal = f"{' or '.join(choices)} would fit {FITTED_SHARE:.0%}" if choices else "cut the images into smaller ones"
    return [f"{line} ({FITTED_SHARE:.0%} have at least {size:.1f} px); {proposal}"]


def ignored_boxes(coco: dict, params: TrainParams, input_wh_by_epoch: list[tuple[int, int]]) -> list[str]:
    """Warn, in at most one line, of training boxes that random scales make too small to be learnt.

    Args:
        coco: the training split.
        params: the `train` section.
        input_wh_by_epoch: size of the input in each epoch, px.
    """
    parts, ever, always = [], 0, len(coco["annotations"])
    for input_wh, same in groupby(enumerate(input_wh_by_epoch, start=1), key=itemgetter(1)):
        epochs = [epoch for epoch, _ in same]
        shares = ignored_shares(box_sizes_wh(coco, input_wh).min(axis=1), tuple(params.augment.scale))
        ever, always = max(ever, int((shares > 0).sum())), min(always, int((shares == 1).sum()))
        if shares.any():
            span = f"epochs {epochs[0]} to {epochs[-1]}" if len(epochs) > 1 else f"epoch {epochs[0]}"
            parts.append(f"{np.mean(shares):.1%} of all boxes on average in {span} ({input_wh[0]} x {input_wh[1]} px)")
    if not parts:
        return []
    never = f"; {counted(always, 'box', 'boxes')} in all samples" if always else ""
    remedy = "tiles of the images or a larger model.image_size" if always else "a larger model.image_size"
    return [
        f"{counted(ever, 'box', 'boxes')} of {len(coco['annotations'])} in the training images are ignored in samples "
        f"where they have less than {MIN_SIDE_PX:g} px: {', '.join(parts)}{never}; {remedy}, a larger first number of "
        "train.augment.scale or a smaller train.small_share helps"
    ]


def ignored_shares(sides: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """Compute in which share of samples each box is too small to be learnt.

    Args:
        sides: the boxes' shorter sides in px of the input, at scale 1, [N].
        scale: range of the random scale, all of it equally likely.
    """
    low, high = scale
    limits = MIN_SIDE_PX / sides
    return (limits > low).astype(float) if low == high else np.clip((limits - low) / (high - low), 0, 1)


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
