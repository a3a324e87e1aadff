"""Test-time augmentation (TTA): scaled, mirrored and tiled views of each image, and merging what they find.

Two ways of merging: NMS over all views, as mmdetection's DetTTAModel does, or weighted boxes fusion. What several
models find is fused in the same way, a view being one of a model. Where some views are tiled, a view has a say only in
boxes that it shows whole and large enough: the whole photograph in large ones, tiles in those that one of them holds.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torchvision.ops import batched_nms

from viadet.detection.decoding import NMS_IOU
from viadet.detection.detections import Detections
from viadet.images.letterbox import letterbox_of
from viadet.images.tiles import Tile, tiles_of
from viadet.project.params import ViewsParams

SIDE_STEP_PX = 32  # the sides of the network's input are multiples of it
FUSION_IOU = 0.55  # the number of the authors of weighted boxes fusion
CUT_PX = 4  # of a tile's input: a box that ends so near an edge inside the photograph is taken for cut off
LARGE_ENOUGH_PX = 16  # side of a box in the input; smaller ones are left to tiles, which show them larger


class InputView(NamedTuple):
    """What a network is shown of an image."""

    input_wh: tuple[int, int]  # px, into which the image is letterboxed
    mirrored: bool
    model: int = 0  # number of the network among the detector's, from 0
    tiles: int = 1  # of each side of the image, each letterboxed into an input of its own; 1: the whole image


def views_of(test_wh: tuple[int, int], params: ViewsParams | None, model: int = 0) -> list[InputView]:
    """List the views of a model that params ask for around an input of `test_wh` px; None: the plain one."""
    if params is None:
        return [InputView(test_wh, mirrored=False, model=model)]
    flips = (False, True) if params.flip else (False,)
    whole = [InputView(scaled_wh(test_wh, scale), mirrored, model) for scale in params.scales for mirrored in flips]
    tiled = [InputView(test_wh, mirrored, model, params.tiles) for mirrored in flips]
    return whole + tiled if params.tiles > 1 else whole


def scaled_wh(input_wh: tuple[int, int], scale: float) -> tuple[int, int]:
    """Scale the size of the network's input; each side is rounded to a multiple of SIDE_STEP_PX."""
    width, height = (max(SIDE_STEP_PX, round(side * scale / SIDE_STEP_PX) * SIDE_STEP_PX) for side in input_wh)
    return width, height


def join_tiles(found: Sequence[Detections], size_wh: tuple[int, int], view: InputView) -> Detections:
    """Put together what was detected in each tile of a view, without the boxes that a tile's edge cuts off.

    A neighbour, or else the whole image, shows what was cut. What two tiles show whole is still there twice: merging
    counts it once, as the boxes of one view.

    Args:
        found: the detections of each tile, boxes in px of the tile, in the order of `tiles_of`.
        size_wh: of the image, px.
        view: in which they were detected.
    """
    boxes_xyxy, kept = [], []
    for tile, detections in zip(tiles_of(size_wh, view.tiles), found, strict=True):
        in_image_xyxy = detections.boxes_xyxy + np.array([tile.left, tile.top] * 2, np.float32)
        boxes_xyxy.append(in_image_xyxy)
        kept.append(is_whole(in_image_xyxy, tile, size_wh, view.input_wh))
    scores, labels = (np.concatenate([getattr(tile, name) for tile in found]) for name in ("scores", "labels"))
    order = np.argsort(-scores, kind="stable")
    order = order[np.concatenate(kept)[order]]
    return Detections(np.concatenate(boxes_xyxy)[order], scores[order], labels[order], found[0].categories)


def is_whole(boxes_xyxy: np.ndarray, tile: Tile, size_wh: tuple[int, int], input_wh: tuple[int, int]) -> np.ndarray:
    """Tell which boxes, [N, 4] in px of the image, lie in a tile without touching an edge that cuts them, bool [N]."""
    margin_px = CUT_PX / max(letterbox_of(*tile.size_wh, input_wh).scale_xy)
    low_xy = [edge + margin_px if edge > 0 else -np.inf for edge in (tile.left, tile.top)]
    ends = zip((tile.right, tile.bottom), size_wh, strict=True)
    high_xy = [edge - margin_px if edge < side else np.inf for edge, side in ends]
    return (boxes_xyxy[:, :2] >= low_xy).all(1) & (boxes_xyxy[:, 2:] <= high_xy).all(1)


class Sight(NamedTuple):
    """Which boxes of an image the views of it show, of which some are tiled."""

    size_wh: tuple[int, int]  # of the image, px
    views: Sequence[InputView]

    def shown(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        """Tell which view shows which box whole and large enough, bool [views, N]; each is shown by at least one.

        Args:
            boxes_xyxy: [N, 4], px of the image.
        """
        in_tiles = {view: self._in_a_tile(boxes_xyxy, view) for view in self.views if view.tiles > 1}
        in_any = np.any(list(in_tiles.values()), axis=0)
        sides = np.sqrt((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clip(0).prod(1))
        rows = []
        for view in self.views:
            scale = max(letterbox_of(*self.size_wh, view.input_wh).scale_xy)
            rows.append(in_tiles.get(view, (sides * scale >= LARGE_ENOUGH_PX) | ~in_any))
        return np.stack(rows)

    def _in_a_tile(self, boxes_xyxy: np.ndarray, view: InputView) -> np.ndarray:
        tiles = tiles_of(self.size_wh, view.tiles)
        return np.any([is_whole(boxes_xyxy, tile, self.size_wh, view.input_wh) for tile in tiles], axis=0)


def sight_of(size_wh: tuple[int, int], views: Sequence[InputView]) -> Sight | None:
    """Tell what the views of an image of this size, px, show of it; None: no view is tiled, so each shows all."""
    return Sight(size_wh, views) if any(view.tiles > 1 for view in views) else None


def merge_views(
    views: list[Detections], merge: Literal["wbf", "nms"], max_detections: int, sight: Sight | None = None
) -> Detections:
    """Merge the detections of one image in several views, for each category; numbers are not rounded in between.

    Args:
        views: what was detected in each.
        merge: weighted boxes fusion, or NMS with the IoU used within one view.
        max_detections: of the image.
        sight: of `sight_of`. What a view can't show is left out of its boxes, and it does not lower the score of that.
    """
    boxes_xyxy = np.concatenate([view.boxes_xyxy for view in views])
    scores = np.concatenate([view.scores for view in views])
    labels = np.concatenate([view.labels for view in views])
    numbers = np.repeat(np.arange(len(views)), [len(view) for view in views])
    if sight:
        shown = sight.shown(boxes_xyxy)[numbers, np.arange(len(numbers))]
        boxes_xyxy, scores, labels, numbers = boxes_xyxy[shown], scores[shown], labels[shown], numbers[shown]
    if merge == "nms":
        tensors = (torch.from_numpy(values) for values in (boxes_xyxy, scores, labels))
        kept = batched_nms(*tensors, NMS_IOU).numpy()
        merged = Detections(boxes_xyxy[kept], scores[kept], labels[kept], views[0].categories)
    else:
        fused = fuse_classes(boxes_xyxy, scores, labels, numbers, len(views), sight)
        merged = Detections(*fused, views[0].categories)
    return merged.best(max_detections)


def fuse_classes(
    boxes_xyxy: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    views: np.ndarray,
    view_count: int,
    sight: Sight | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fuse the boxes of one image for each label, as `fuse_boxes` does; gives boxes, scores and labels, best first."""
    all_boxes_xyxy, all_scores, all_labels = [np.empty((0, 4))], [np.empty(0)], [np.empty(0, np.int64)]
    for label in np.unique(labels):
        chosen = labels == label
        fused_xyxy, fused_scores = fuse_boxes(
            boxes_xyxy[chosen].astype(np.float64), scores[chosen].astype(np.float64), views[chosen], view_count, sight
        )
        all_boxes_xyxy.append(fused_xyxy)
        all_scores.append(fused_scores)
        all_labels.append(np.full(len(fused_scores), label))
    fused_scores = np.concatenate(all_scores)
    order = np.argsort(-fused_scores, kind="stable")
    return (
        np.concatenate(all_boxes_xyxy)[order].astype(np.float32),
        fused_scores[order].astype(np.float32),
        np.concatenate(all_labels)[order],
    )


def fuse_boxes(
    boxes_xyxy: np.ndarray, scores: np.ndarray, views: np.ndarray, view_count: int, sight: Sight | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Fuse the boxes of one image and category: those of several views that agree become one average box.

    Weighted boxes fusion (Solovyev et al. 2021), after the authors' implementation
    (github.com/ZFTurbo/Weighted-Boxes-Fusion) with one difference: a view counts once in a fused box, by the best of
    its boxes. A box joins the fused box that it overlaps most, if by more than FUSION_IOU, otherwise it starts another.

    Args:
        boxes_xyxy: of all views, float64 [N, 4], px of the original image.
        scores: float64 [N], 0..1.
        views: number of each box's view, int [N].
        view_count: of all views, those without a box too.
        sight: of `sight_of`.

    Returns:
        Fused boxes [M, 4] and their scores [M], best first. A fused box is the mean of its boxes, weighted by score;
        its score is the sum of the views' best scores, divided by the number of views that show it or found it.
    """
    # made once for all boxes: a row for each fused box, a column in `fused_xyxy`; the first `count` are in use
    length, count = len(scores), 0
    fused_xyxy, areas = np.zeros((4, length)), np.zeros(length)
    sums_xyxy, weights, best_scores = np.zeros((length, 4)), np.zeros(length), np.zeros((view_count, length))
    box_areas = (boxes_xyxy[:, 2] - boxes_xyxy[:, 0]) * (boxes_xyxy[:, 3] - boxes_xyxy[:, 1])
    for index in np.argsort(-scores, kind="stable"):
        box_xyxy, score = boxes_xyxy[index], scores[index]
        ious = ious_with(fused_xyxy[:, :count], areas[:count], box_xyxy, box_areas[index])
        number = int(ious.argmax()) if count else 0
        if count and ious[number] > FUSION_IOU:
            sums_xyxy[number] += box_xyxy * score
            weights[number] += score
            left, top, right, bottom = fused_xyxy[:, number] = sums_xyxy[number] / weights[number]
            areas[number] = (right - left) * (bottom - top)
        else:
            number, count = count, count + 1
            sums_xyxy[number], weights[number] = box_xyxy * score, score
            fused_xyxy[:, number], areas[number] = box_xyxy, box_areas[index]
        view = views[index]
        best_scores[view, number] = max(best_scores[view, number], score)
    best_scores = best_scores[:, :count]
    asked = (sight.shown(fused_xyxy[:, :count].T) | (best_scores > 0)).sum(0) if sight else view_count
    fused_scores = best_scores.sum(0) / asked
    order = np.argsort(-fused_scores, kind="stable")
    return fused_xyxy[:, order].T, fused_scores[order]


def ious_with(boxes_xyxy: np.ndarray, areas: np.ndarray, box_xyxy: np.ndarray, area: float) -> np.ndarray:
    """Compute the IoU of boxes, [4, M], with one box, [4], of these areas; 0 for two boxes without any."""
    low_xy = np.maximum(boxes_xyxy[:2], box_xyxy[:2, None])
    high_xy = np.minimum(boxes_xyxy[2:], box_xyxy[2:, None])
    width, height = np.maximum(high_xy - low_xy, 0)
    overlap = width * height
    return overlap / np.maximum(areas + area - overlap, np.finfo(float).tiny)
