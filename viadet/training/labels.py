"""The labels of a batch's anchors: which object each has, computed with the same operations for any objects."""

from typing import Literal

import torch

from viadet.augmentation.objects import IGNORED
from viadet.network.effdet_parts import Anchors, BoxList, FasterRcnnBoxCoder

MATCH_IOU = 0.5  # of an anchor with an object, as in effdet
TIED = 0.99  # anchors with this share of the best anchor's IoU are as good as it
NEAREST = 9  # cells of each level whose anchors may be labelled with an object, in adaptive assignment
MAX_PAIRS = 2**25  # of anchors and objects at once; a tensor of their IoUs takes four times as many bytes

Assignment = Literal["iou", "atss"]


class BatchLabeler:
    """The labels of effdet's `AnchorLabeler`, with objects to ignore, and without shapes that depend on the objects.

    effdet's labels one image after another and filters its boxes, so that a GPU waits for each, and the steps of a
    training differ. Here all images of a batch have as many boxes, padded, and no operation depends on how many are
    objects.

    An object with too little visible, or too small, to be learnt is still in the picture. The anchors that would be
    labelled with it, if it counted, get IGNORED, of which effdet's class loss takes no notice, unless another object
    has them.
    """

    def __init__(self, anchors: Anchors, assign: Assignment) -> None:
        """Take the anchors of one size of inputs, and the way in which they get their objects."""
        self.anchors, self.assign = anchors, assign
        self.sizes_hw = anchors.feat_sizes[anchors.min_level : anchors.max_level + 1]
        self.anchors_per_level = [
            height * width * anchors.get_anchors_per_location() for height, width in self.sizes_hw
        ]

    def batch_label_anchors(
        self, boxes_yxyx: torch.Tensor, labels: torch.Tensor
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
        """Label the anchors of a batch.

        Args:
            boxes_yxyx: [B, M, 4], px of the input.
            labels: [B, M] from 1; IGNORED: to ignore; -1: padding.

        Returns:
            By level: classes from 0 [B, H, W, 9], below 0 without an object, IGNORED where it does not matter; codes of
            boxes [B, H, W, 9 * 4]. And the number of anchors with an object, by image [B].
        """
        images_at_once = max(1, MAX_PAIRS // (boxes_yxyx.shape[1] * len(self.anchors.boxes)))
        parts = [
            self.label(*images)
            for images in zip(boxes_yxyx.split(images_at_once), labels.split(images_at_once), strict=True)
        ]
        classes, codes = (torch.cat(values) for values in zip(*parts, strict=True))
        num_positives = (classes >= 0).sum(1).float()
        return self.by_level(classes), self.by_level(codes), num_positives

    def by_level(self, values: torch.Tensor) -> list[torch.Tensor]:
        """Divide values of all anchors, [B, A] or [B, A, 4], by level, [B, H, W, 9] or [B, H, W, 9 * 4]."""
        return [
            level.flatten(1).unflatten(1, (height, width, -1))
            for (height, width), level in zip(self.sizes_hw, values.split(self.anchors_per_level, 1), strict=True)
        ]

    def label(self, boxes_yxyx: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Label the anchors of some images; arguments as for `batch_label_anchors`.

        Each object has the anchor that it overlaps most; of several objects with the same one, the first. Which others
        it has is a matter of the assignment.

        Returns:
            Classes [B, A] and codes [B, A, 4].
        """
        objects = boxes_yxyx.shape[1]
        is_object = labels > -1
        ious = self.ious(boxes_yxyx)
        object_ious = torch.where(is_object[..., None], ious, -1.0)
        match = (
            self.match_by_iou(object_ious) if self.assign == "iou" else self.match_adaptively(object_ious, boxes_yxyx)
        )

        # The column behind the last anchor takes what padding and ignored objects would own.
        best_anchor = torch.where(is_object, object_ious.argmax(2), ious.shape[2])
        numbers = torch.arange(objects, device=labels.device).expand_as(best_anchor)
        owner = torch.full((len(labels), ious.shape[2] + 1), objects, device=labels.device)
        owner = owner.scatter_reduce(1, best_anchor, numbers, "amin")[:, :-1]
        match = torch.where(owner < objects, owner, match)

        has_object, row = match >= 0, match.clamp(min=0)
        classes = torch.where(has_object, labels.gather(1, row).long() - 1, -1)
        classes = torch.where(~has_object & self.is_ignored(ious, labels == IGNORED), IGNORED, classes)
        codes = self.encode(boxes_yxyx.gather(1, row[..., None].expand(-1, -1, 4)))
        return classes, torch.where(has_object[..., None], codes, 0.0)

    def match_by_iou(self, ious: torch.Tensor) -> torch.Tensor:
        """Match an anchor with the object that it overlaps most, if by MATCH_IOU, as effdet does, after RetinaNet.

        Args:
            ious: [B, M, A], -1 for what is no object.

        Returns:
            The number of each anchor's object, [B, A], or -1.
        """
        best_iou, best_object = ious.max(1)
        return torch.where(best_iou >= MATCH_IOU, best_object, -1)

    def match_adaptively(self, ious: torch.Tensor, boxes_yxyx: torch.Tensor) -> torch.Tensor:
        """Match anchors by a threshold that each object has for itself: ATSS (Zhang et al. 2020).

        Candidates are the anchors of the NEAREST cells of each level; those of them with their centre in the object
        and an IoU of at least the candidates' mean and standard deviation, added, have it. Of several objects, an
        anchor has the one that it overlaps most. Arguments and result as for `match_by_iou`; boxes are [B, M, 4].
        """
        candidates = self.candidates(boxes_yxyx)
        candidate_ious = ious.gather(2, candidates)
        least = candidate_ious.mean(2) + candidate_ious.std(2)
        y, x = (
            centre[candidates] for centre in ((self.anchors.boxes[:, :2] + self.anchors.boxes[:, 2:]) / 2).unbind(1)
        )
        top, left, bottom, right = (edge[..., None] for edge in boxes_yxyx.unbind(2))
        is_inside = (y > top) & (y < bottom) & (x > left) & (x < right)
        is_match = is_inside & (candidate_ious >= least[..., None])
        chosen = torch.where(is_match, candidate_ious, -1.0)
        best_iou, best_object = torch.full_like(ious, -1.0).scatter(2, candidates, chosen).max(1)
        return torch.where(best_iou >= 0, best_object, -1)

    def candidates(self, boxes_yxyx: torch.Tensor) -> torch.Tensor:
        """Number the anchors of the NEAREST cells of each level around each box [B, M, 4], [B, M, C]."""
        centre_yx = (boxes_yxyx[..., :2] + boxes_yxyx[..., 2:]) / 2
        per_cell, first, candidates = self.anchors.get_anchors_per_location(), 0, []
        for level in self.anchors.boxes.split(self.anchors_per_level):
            cells_yx = (level[::per_cell, :2] + level[::per_cell, 2:]) / 2
            distances = (centre_yx[:, :, None] - cells_yx).square().sum(3)
            cells = distances.topk(min(NEAREST, len(cells_yx)), largest=False).indices
            anchors = first + per_cell * cells[..., None] + torch.arange(per_cell, device=cells.device)
            candidates.append(anchors.flatten(2))
            first += len(level)
        return torch.cat(candidates, 2)

    def ious(self, boxes_yxyx: torch.Tensor) -> torch.Tensor:
        """Compute the IoU of boxes [B, M, 4] with all anchors, [B, M, A], to the bit as effdet does.

        The anchors of a level form a grid: heights and widths of what they share with a box are computed by row and by
        column, and only their products by anchor.
        """
        top, left, bottom, right = (edge[..., None, None, None] for edge in boxes_yxyx.unbind(2))
        shared = []
        for (height, width), level in zip(self.sizes_hw, self.anchors.boxes.split(self.anchors_per_level), strict=True):
            grid_yxyx = level.unflatten(0, (height, width, -1))
            rows, columns = grid_yxyx[:, :1], grid_yxyx[:1]
            heights = torch.minimum(bottom, rows[..., 2]) - torch.maximum(top, rows[..., 0])
            widths = torch.minimum(right, columns[..., 3]) - torch.maximum(left, columns[..., 1])
            shared.append((heights.clamp(min=0) * widths.clamp(min=0)).flatten(2))
        intersections = torch.cat(shared, 2)
        unions = areas(boxes_yxyx)[..., None] + areas(self.anchors.boxes) - intersections
        return torch.where(intersections == 0, 0.0, intersections / unions)

    def is_ignored(self, ious: torch.Tensor, is_ignored: torch.Tensor) -> torch.Tensor:
        """Mark the anchors, bool [B, A], that a box to ignore overlaps by MATCH_IOU, or as much as its best one.

        Args:
            ious: [B, M, A].
            is_ignored: the boxes to ignore, bool [B, M].
        """
        least = (TIED * ious.amax(2)).clamp(max=MATCH_IOU)
        return ((ious >= least[..., None]) & is_ignored[..., None]).any(1)

    def encode(self, boxes_yxyx: torch.Tensor) -> torch.Tensor:
        """Encode a box for each anchor, [B, A, 4], as effdet does."""
        anchors_yxyx = self.anchors.boxes.repeat(len(boxes_yxyx), 1)
        codes = FasterRcnnBoxCoder().encode(BoxList(boxes_yxyx.flatten(0, 1)), BoxList(anchors_yxyx))
        return codes.unflatten(0, boxes_yxyx.shape[:2])


def areas(boxes_yxyx: torch.Tensor) -> torch.Tensor:
    """Compute the areas of boxes [..., 4], px²."""
    top, left, bottom, right = boxes_yxyx.unbind(-1)
    return (bottom - top) * (right - left)
