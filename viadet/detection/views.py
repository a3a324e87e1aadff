"""Test-time augmentation (TTA): several scaled and mirrored views of each image, and merging what they find.

Two ways of merging: NMS over all views, as mmdetection's DetTTAModel does, or weighted boxes fusion. What several
models find is fused in the same way, a view being one of a model.
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
from torchvision.ops import batched_nms

from viadet.detection.decoding import NMS_IOU
from viadet.detection.detections import Detections
from viadet.project.params import ViewsParams

SIDE_STEP_PX = 32  # the sides of the network's input are multiples of it
FUSION_IOU = 0.55  # the number of the authors of weighted boxes fusion


class InputView(NamedTuple):
    """What a network is shown of an image."""

    input_wh: tuple[int, int]  # px, into which the image is letterboxed
    mirrored: bool
    model: int = 0  # number of the network among the detector's, from 0


def views_of(test_wh: tuple[int, int], params: ViewsParams | None, model: int = 0) -> list[InputView]:
    """List the views of a model that params ask for around an input of `test_wh` px; None: the plain one."""
    if params is None:
        return [InputView(test_wh, mirrored=False, model=model)]
    flips = (False, True) if params.flip else (False,)
    return [InputView(scaled_wh(test_wh, scale), mirrored, model) for scale in params.scales for mirrored in flips]


def scaled_wh(input_wh: tuple[int, int], scale: float) -> tuple[int, int]:
    """Scale the size of the network's input; each side is rounded to a multiple of SIDE_STEP_PX."""
    width, height = (max(SIDE_STEP_PX, round(side * scale / SIDE_STEP_PX) * SIDE_STEP_PX) for side in input_wh)
    return width, height


def merge_views(views: list[Detections], merge: Literal["wbf", "nms"], max_detections: int) -> Detections:
    """Merge the detections of one image in several views, for each category; numbers are not rounded in between.

    Args:
        views: what was detected in each.
        merge: weighted boxes fusion, or NMS with the IoU used within one view.
        max_detections: of the image.
    """
    boxes_xyxy = np.concatenate([view.boxes_xyxy for view in views])
    scores = np.concatenate([view.scores for view in views])
    labels = np.concatenate([view.labels for view in views])
    if merge == "nms":
        tensors = (torch.from_numpy(values) for values in (boxes_xyxy, scores, labels))
        kept = batched_nms(*tensors, NMS_IOU).numpy()
        merged = Detections(boxes_xyxy[kept], scores[kept], labels[kept], views[0].categories)
    else:
        numbers = np.repeat(np.arange(len(views)), [len(view) for view in views])
        merged = Detections(*fuse_classes(boxes_xyxy, scores, labels, numbers, len(views)), views[0].categories)
    return merged.best(max_detections)


def fuse_classes(
    boxes_xyxy: np.ndarray, scores: np.ndarray, labels: np.ndarray, views: np.ndarray, view_count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fuse the boxes of one image for each label, as `fuse_boxes` does; gives boxes, scores and labels, best first."""
    all_boxes_xyxy, all_scores, all_labels = [np.empty((0, 4))], [np.empty(0)], [np.empty(0, np.int64)]
    for label in np.unique(labels):
        chosen = labels == label
        fused_xyxy, fused_scores = fuse_boxes(
            boxes_xyxy[chosen].astype(np.float64), scores[chosen].astype(np.float64), views[chosen], view_count
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
    boxes_xyxy: np.ndarray, scores: np.ndarray, views: np.ndarray, view_count: int
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

    Returns:
        Fused boxes [M, 4] and their scores [M], best first. A fused box is the mean of its boxes, weighted by score;
        its score is the sum of the views' best scores, divided by the number of views.
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
    fused_scores = best_scores[:, :count].sum(0) / view_count
    order = np.argsort(-fused_scores, kind="stable")
    return fused_xyxy[:, order].T, fused_scores[order]


def ious_with(boxes_xyxy: np.ndarray, areas: np.ndarray, box_xyxy: np.ndarray, area: float) -> np.ndarray:
    """Compute the IoU of boxes, [4, M], with one box, [4], of these areas; 0 for two boxes without any."""
    low_xy = np.maximum(boxes_xyxy[:2], box_xyxy[:2, None])
    high_xy = np.minimum(boxes_xyxy[2:], box_xyxy[2:, None])
    width, height = np.maximum(high_xy - low_xy, 0)
    overlap = width * height
    return overlap / np.maximum(areas + area - overlap, np.finfo(float).tiny)
