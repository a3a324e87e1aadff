"""Weighted boxes fusion (WBF, Solovyev et al. 2021): the boxes of several views that agree become one average box.

After the authors' implementation (github.com/ZFTurbo/Weighted-Boxes-Fusion) with two differences: a view counts once in
a fused box, by the best of its boxes, and only views that could have found an object of that size are asked.
"""

from collections.abc import Callable

import numpy as np
import torch
from torchvision.ops import box_iou

FUSION_IOU = 0.55  # the authors' number


def fuse_boxes(
    boxes_xyxy: np.ndarray, scores: np.ndarray, views: np.ndarray, asked: Callable[[np.ndarray], int]
) -> tuple[np.ndarray, np.ndarray]:
    """Fuse the boxes of one image and category.

    A box joins the fused box that it overlaps most, if by more than FUSION_IOU, otherwise it starts another one.

    Args:
        boxes_xyxy: of all views, float64 [N, 4], px of the original image.
        scores: float64 [N], 0..1.
        views: number of each box's view, int [N].
        asked: how many views could have found a box [4].

    Returns:
        Fused boxes [M, 4] and their scores [M], best first. A fused box is the mean of its boxes, weighted by score;
        its score is the sum of the views' best scores, divided by the number of views that were asked.
    """
    clusters: list[list[int]] = []
    fused_xyxy = np.empty((0, 4))
    for index in np.argsort(-scores, kind="stable"):
        ious = box_iou(torch.from_numpy(fused_xyxy), torch.from_numpy(boxes_xyxy[index : index + 1]))[:, 0].numpy()
        ious = np.nan_to_num(ious)  # 0 / 0 for two boxes without area
        if len(ious) and ious.max() > FUSION_IOU:
            number = int(ious.argmax())
            clusters[number].append(index)
            members = clusters[number]
            fused_xyxy[number] = np.average(boxes_xyxy[members], axis=0, weights=scores[members])
        else:
            clusters.append([index])
            fused_xyxy = np.vstack([fused_xyxy, boxes_xyxy[index]])
    fused_scores = np.array(
        [
            sum(best_by_view(scores[members], views[members])) / max(1, asked(box_xyxy))
            for box_xyxy, members in zip(fused_xyxy, clusters, strict=True)
        ]
    ).clip(max=1.0)
    order = np.argsort(-fused_scores, kind="stable")
    return fused_xyxy[order], fused_scores[order]


def best_by_view(scores: np.ndarray, views: np.ndarray) -> list[float]:
    """Pick the best score of each view that has any."""
    return [float(scores[views == view].max()) for view in np.unique(views)]
