"""The labels of a batch's anchors: which object each has, computed with the same operations for any objects."""

import torch

from viadet.augmentation.objects import IGNORED
from viadet.network.effdet_parts import Anchors, BoxList, FasterRcnnBoxCoder

MATCH_IOU = 0.5  # of an anchor with an object, as in effdet
TIED = 0.99  # anchors with this share of the best anchor's IoU are as good as it
MAX_PAIRS = 2**25  # of anchors and objects at once; a tensor of their IoUs takes four times as many bytes


class BatchLabeler:
    """The labels of effdet's `AnchorLabeler`, with objects to ignore, and without shapes that depend on the objects.

    effdet's labels one image after another and filters its boxes, so that a GPU waits for each, and the steps of a
    training differ. Here all images of a batch have as many boxes, padded, and no operation depends on how many are
    objects.

    An object with too little visible, or too small, to be learnt is still in the picture. The anchors that would be
    labelled with it, if it counted, get IGNORED, of which effdet's class loss takes no notice, unless another object
    has them.
    """

    def __init__(self, anchors: Anchors) -> None:
        """Take the anchors of one size of inputs."""
        self.anchors = anchors
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

        As effdet does, after RetinaNet: an anchor has the object that it overlaps most, if by MATCH_IOU, and each
        object has the anchor that it overlaps most; of several objects with the same one, the first.

        Returns:
            Classes [B, A] and codes [B, A, 4].
        """
        objects = boxes_yxyx.shape[1]
        is_object = labels > -1
        ious = self.ious(boxes_yxyx)
        object_ious = torch.where(is_object[..., None], ious, -1.0)
        best_iou, best_object = object_ious.max(1)
        match = torch.where(best_iou >= MATCH_IOU, best_object, -1)

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
