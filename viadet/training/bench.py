"""The network with its loss, as effdet's bench: labels, box loss by IoU, inputs of several sizes, torch.compile."""

import math

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torchvision.ops import box_iou, complete_box_iou_loss

from viadet.augmentation.objects import IGNORED
from viadet.network.build import NetworkSpec, build_network
from viadet.network.effdet_parts import (
    AnchorLabeler,
    DetBenchTrain,
    DetectionLoss,
    ResampleFeatureMap,
    decode_box_outputs,
)
from viadet.project.errors import UserError

BOX_WEIGHT = 2.0  # of the box loss against the class loss, as in ATSS (Zhang et al. 2020)
MATCH_IOU = 0.5  # of an anchor with an object, as in effdet
TIED = 0.99  # anchors with this share of the best anchor's IoU are as good as it
MAX_GROWTH = math.log(1000 / 16)  # of an anchor into a box, as in torchvision: keeps `exp` finite


class IgnoringLabeler(AnchorLabeler):
    """effdet's labels of anchors; those of objects to ignore are neither objects nor background.

    An object with too little visible, or too small, to be learnt is still in the picture. The anchors that would be
    labelled with it, if it counted, get IGNORED, of which effdet's class loss takes no notice, unless another object
    has them.
    """

    def batch_label_anchors(
        self, gt_boxes: torch.Tensor, gt_classes: torch.Tensor, filter_valid: bool = True
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
        """Label the anchors of a batch.

        Args:
            gt_boxes: [B, M, 4] as yxyx, px of the input.
            gt_classes: [B, M] from 1; IGNORED: to ignore; -1: padding.
            filter_valid: as in effdet.

        Returns:
            By level: classes from 0 [B, H, W, 9], below 0 without an object, IGNORED where it does not matter; codes of
            boxes [B, H, W, 9 * 4]. And the number of anchors with an object, by image [B].
        """
        classes, codes, num_positives = super().batch_label_anchors(gt_boxes, gt_classes, filter_valid)
        sizes = [level[0].numel() for level in classes]
        for image, (boxes_yxyx, labels) in enumerate(zip(gt_boxes, gt_classes, strict=True)):
            is_ignored = self.matched(boxes_yxyx[labels == IGNORED])
            for level, ignored in zip(classes, is_ignored.split(sizes), strict=True):
                background = level[image] < 0
                level[image] = level[image].masked_fill(background & ignored.view_as(background), IGNORED)
        return classes, codes, num_positives

    def matched(self, boxes_yxyx: torch.Tensor) -> torch.Tensor:
        """Mark the anchors, bool [anchors], that any box [N, 4] overlaps by MATCH_IOU, or as much as its best one."""
        anchors_yxyx = self.anchors.boxes
        is_matched = torch.zeros(len(anchors_yxyx), dtype=torch.bool, device=anchors_yxyx.device)
        for box_yxyx in boxes_yxyx:  # one by one: all at once would take gigabytes for hundreds of objects
            ious = box_iou(box_yxyx[None], anchors_yxyx)[0]
            is_matched |= ious >= (TIED * ious.max()).clamp(max=MATCH_IOU)
        return is_matched


class CompleteIoULoss(nn.Module):
    """effdet's class loss, and the complete IoU loss of the boxes (Zheng et al. 2020) of all anchors with an object.

    effdet's own box loss (Huber) treats the four codes of a box apart from each other, and those of small errors alike;
    this one grows with what AP at high IoUs counts.
    """

    def __init__(self, bench: DetBenchTrain) -> None:
        """Take anchors and class loss from effdet's bench."""
        super().__init__()
        self.effdet_loss = DetectionLoss(bench.config)
        self.anchors = bench.anchors

    def forward(
        self,
        class_out: list[torch.Tensor],
        box_out: list[torch.Tensor],
        class_targets: list[torch.Tensor],
        box_targets: list[torch.Tensor],
        num_positives: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Compute loss, class loss and box loss as effdet's `DetectionLoss` does.

        Args:
            class_out: by level, [B, 9 * K, H, W].
            box_out: by level, [B, 9 * 4, H, W].
            class_targets: by level, [B, H, W, 9]; below 0: no object.
            box_targets: by level, codes [B, H, W, 9 * 4].
            num_positives: anchors with an object, by image [B].
        """
        _, class_loss, _ = self.effdet_loss(class_out, box_out, class_targets, box_targets, num_positives)
        images = len(class_out[0])
        codes = torch.cat([level.permute(0, 2, 3, 1).reshape(images, -1, 4) for level in box_out], 1)
        true_codes = torch.cat([level.reshape(images, -1, 4) for level in box_targets], 1)
        has_object = torch.cat([level.reshape(images, -1) for level in class_targets], 1) >= 0
        image, anchor = has_object.nonzero(as_tuple=True)
        anchors_yxyx = self.anchors.boxes[anchor]
        boxes_xyxy, true_boxes_xyxy = (
            decode_box_outputs(values[image, anchor].float().clamp(max=MAX_GROWTH), anchors_yxyx, output_xyxy=True)
            for values in (codes, true_codes)
        )
        box_loss = complete_box_iou_loss(boxes_xyxy, true_boxes_xyxy, reduction="sum") / (num_positives.sum() + 1)
        return class_loss + BOX_WEIGHT * box_loss, class_loss, box_loss


def make_bench(network: nn.Module, box_loss: str) -> DetBenchTrain:
    """Put a network together with its loss; `box_loss` is ciou, or huber for effdet's own."""
    bench = DetBenchTrain(network)
    bench.anchor_labeler = IgnoringLabeler(bench.anchors, bench.num_classes, MATCH_IOU)
    if box_loss == "ciou":
        bench.loss_fn = CompleteIoULoss(bench)
    return bench


def set_input_size(bench: nn.Module, spec: NetworkSpec, input_wh: tuple[int, int]) -> None:
    """Have a network with its loss take inputs of `input_wh` px from now on.

    effdet fixes two things by the input's size, none of them a weight: the anchors, and how the neck goes from one
    level to the next; in an input of one cell, it has nothing to enlarge or to halve.

    Args:
        bench: effdet's DetBenchTrain, or DistributedDataParallel around it.
        spec: what the network is.
        input_wh: px.
    """
    bench = bench.module if isinstance(bench, DistributedDataParallel) else bench
    if bench.anchors.image_size == input_wh[::-1]:
        return
    with torch.random.fork_rng(devices=[]):  # the weights of this network are not used
        sized = DetBenchTrain(build_network(spec._replace(input_wh=input_wh)))
    bench.anchors = sized.anchors.to(bench.anchors.boxes.device)
    bench.anchor_labeler = IgnoringLabeler(bench.anchors, bench.num_classes, MATCH_IOU)
    sized_modules = dict(sized.model.named_modules())
    resamples = {name: module for name, module in bench.model.named_modules() if isinstance(module, ResampleFeatureMap)}
    for name, resample in resamples.items():
        for step in ("downsample", "upsample"):
            if hasattr(resample, step):
                delattr(resample, step)
            if hasattr(sized_modules[name], step):
                resample.add_module(step, getattr(sized_modules[name], step))
    for module in bench.modules():
        if isinstance(module, CompleteIoULoss):
            module.anchors = bench.anchors


def compile_network(network: nn.Module, device: torch.device) -> None:
    """Have torch.compile translate a network in place at its first use; parameters and their names stay.

    Raises:
        UserError: torch.compile does not work here; most often there is no compiler.
    """
    try:
        torch.compile(_times_two)(torch.ones(8, device=device))
    except Exception as error:  # each backend has its own, from a missing compiler to a missing header
        reason = " ".join(str(error).partition("\n\n")[0].split())[:200]  # torch's advice on debugging follows
        raise UserError(
            f"train.compile is true, but torch.compile fails on this machine ({reason}); install a C++ compiler "
            "(g++ or clang; on CUDA also Triton), or set train.compile to false"
        ) from error
    network.compile()


def _times_two(values: torch.Tensor) -> torch.Tensor:
    return 2 * values
