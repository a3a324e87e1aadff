"""Warnings of objects that the detector will miss or learn late, with params that would help."""

import math
from collections import Counter
from itertools import groupby, product
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from viadet.augmentation.objects import MIN_SIDE_PX
from viadet.images.letterbox import letterbox_of
from viadet.images.tiles import zoom_of
from viadet.network.build import effdet_config
from viadet.pictures.box_sizes import box_sizes_wh
from viadet.project.counting import counted, first_names
from viadet.project.params import MAX_TILES, SIDE_PX, ModelParams, TrainParams

FITTED_SHARE = 0.95  # of the boxes, from which on nothing is proposed
FITTING_IOU = 0.5  # of a box and an anchor, from which on effdet's labels let the anchor learn the box
ANCHOR_SCALES = (2.0, 2.5, 3.0, 4.0, 5.0, 6.0)  # below 2, the smallest anchors leave gaps between each other
ZOOMS = (2, 3, 4, 5, 6)  # of tiles: how much larger they show what is in an image
SIDE_STEP_PX = 128  # of the proposed sizes
SEARCHED_BOXES = 5000  # by which proposals are compared; the one that is made is computed for all


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
    zoom: int = 1  # of tiles

    def text(self) -> str:
        """Name the params."""
        width, height = self.input_wh
        size = width if width == height else [width, height]
        tiles = next(count for count in range(1, MAX_TILES + 1) if zoom_of(count) >= self.zoom)
        views = f"evaluate.test_time.tiles {tiles} with train.augment.scale up to auto, " if tiles > 1 else ""
        return f"{views}model.image_size {size} and model.anchor_scale {self.anchor_scale:g}"


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


def other_anchors(start: dict, model: ModelParams) -> list[str]:
    """Warn, in at most one line, that training starts from a detector that learnt its boxes by anchors of another size.

    Args:
        start: start.json of the starting weights; without "anchor_scale" where that is not known, or where there are
            no boxes yet, as in a backbone.
        model: the `model` section.
    """
    learnt = start.get("anchor_scale", model.anchor_scale)
    if learnt == model.anchor_scale:
        return []
    return [
        f"{start['file']} was trained with model.anchor_scale {learnt:g}, not {model.anchor_scale:g}: at first its "
        f"boxes are {model.anchor_scale / learnt:.2f} times as large as the objects; with {learnt:g} they fit at once"
    ]


def proposals(input_wh: tuple[int, int]) -> list[Proposal]:
    """List larger inputs, then tiles in the present one, each with all ANCHOR_SCALES: the smallest first."""
    longest = max(input_wh)
    sides = range(longest, SIDE_PX[1] + 1, SIDE_STEP_PX)
    inputs_wh = [tuple(max(SIDE_PX[0], round(side * s / longest / 32) * 32) for s in input_wh) for side in sides]
    larger = [Proposal(larger_wh, scale) for larger_wh in inputs_wh for scale in ANCHOR_SCALES]
    return larger + [Proposal(input_wh, scale, zoom) for zoom in ZOOMS for scale in ANCHOR_SCALES]


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
    tiles_wh = -(-boxes.images_wh // proposal.zoom)
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
    octaves = [2 ** (octave / config.num_scales) for octave in range(config.num_scales)]
    sizes_wh = boxes_xywh[:, 2:]
    centres_xy = boxes_xywh[:, :2] + sizes_wh / 2
    best = np.zeros(len(boxes_xywh))
    for level in range(config.min_level, config.max_level + 1):
        cells_wh = np.ceil(np.divide(proposal.input_wh, 2**level))
        stride_xy = np.array(proposal.input_wh) / cells_wh
        nearest_xy = (np.clip(centres_xy // stride_xy, 0, cells_wh - 1) + 0.5) * stride_xy
        distances_xy = abs(centres_xy - nearest_xy)
        for octave, aspect_wh in product(octaves, config.aspect_ratios):
            anchor_wh = proposal.anchor_scale * octave * stride_xy * np.array(aspect_wh)
            reach_wh = (sizes_wh + anchor_wh) / 2 - distances_xy
            overlaps = np.minimum(np.minimum(sizes_wh, anchor_wh), reach_wh).clip(0).prod(1)
            best = np.maximum(best, overlaps / (sizes_wh.prod(1) + anchor_wh.prod() - overlaps))
    return best


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
    remedy = "evaluate.test_time.tiles or a larger model.image_size" if always else "a larger model.image_size"
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
