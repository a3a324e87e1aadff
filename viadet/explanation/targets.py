"""What is explained: boxes, through the anchors that make them, and their gradients."""

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import nn
from torchvision.ops import box_iou

from viadet.network.boxes import flat_outputs

MATCH_IOU = 0.5  # of an anchor that effdet's training assigns to an object


class ForwardPass(NamedTuple):
    """One image on its way through the network, with all that gradients need."""

    batch: torch.Tensor  # float32 [1, 3, H, W], normalised
    features: list[torch.Tensor]  # of the backbone
    pyramid: list[torch.Tensor]  # the neck's outputs from P3 on, [1, C, h, w] each
    logits: torch.Tensor  # [A, K]
    codes: torch.Tensor  # [A, 4]


class Target(NamedTuple):
    """What is explained: the mean over some anchors.

    Its `score` is the class logit (a sigmoid near 1 would weaken just the surest boxes). Its `box` is how far the
    regression moved and stretched the anchor, the sum of the absolute box codes. `both` is their sum.
    """

    anchors: torch.Tensor  # int64 [N]
    label: int  # from 1
    level: int  # that made the box, P3 is 0
    kind: Literal["score", "box", "both"]

    def value(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Give the target's value [...] of outputs [..., A, K] and [..., A, 4]."""
        score = logits[..., self.anchors, self.label - 1].mean(-1)
        if self.kind == "score":
            return score
        box = codes[..., self.anchors, :].abs().sum(-1).mean(-1)
        return box if self.kind == "box" else score + box


def forward_pass(network: nn.Module, batch: torch.Tensor) -> ForwardPass:
    """Run the network, in eval mode, on one normalised image [1, 3, H, W]."""
    with torch.no_grad():
        features = network.backbone(batch)
    # BiFPN appends P6 and P7 to the list it is given.
    pyramid = network.fpn(list(features))
    logits, codes = flat_outputs(network.class_net(pyramid), network.box_net(pyramid))
    return ForwardPass(batch, features, pyramid, logits[0], codes[0])


def anchors_near(anchors_yxyx: torch.Tensor, box_xyxy: torch.Tensor) -> torch.Tensor:
    """Choose the anchors that training would assign to a box, the nearest first: IoU 0.5 or more, at least the best.

    Args:
        anchors_yxyx: [A, 4].
        box_xyxy: [4].

    Returns:
        int64 [N].
    """
    overlap = box_iou(anchors_yxyx[:, [1, 0, 3, 2]], box_xyxy[None])[:, 0]
    ious, order = overlap.sort(descending=True, stable=True)
    return order[: max(1, int((ious >= MATCH_IOU).sum()))]


def gradients_of(passed: ForwardPass, target: Target) -> list[np.ndarray | None]:
    """Differentiate a target by the activations of each level, [1, C, h, w]; None where the level has no part in it.

    The level that made the box always has one, even should all gradients be zero there.
    """
    value = target.value(passed.logits, passed.codes)
    gradients = torch.autograd.grad(value, passed.pyramid, retain_graph=True, materialize_grads=True)
    return [
        gradient.float().cpu().numpy() if level == target.level or gradient.any() else None
        for level, gradient in enumerate(gradients)
    ]
