"""What a map explains: a score or box regression of some anchors, and its gradients at the levels of the neck."""

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import nn
from torchvision.ops import box_iou

from viadet.network.anchors import flat_outputs

ASSIGNED_IOU = 0.5  # IoU from which effdet's training assigns an anchor to an object


class ForwardPass(NamedTuple):
    """One image's forward pass, with everything that gradients need."""

    batch: torch.Tensor  # float32 [1, 3, H, W], normalised
    features: list[torch.Tensor]  # the backbone's outputs, [1, C, h, w] each
    pyramid: list[torch.Tensor]  # the neck's outputs from P3 on, [1, C, h, w] each
    logits: torch.Tensor  # [A, K]
    codes: torch.Tensor  # [A, 4]


class Target(NamedTuple):
    """The quantity that is explained: an output of the network, averaged over some anchors.

    `score` is the class logit (a sigmoid near 1 would weaken the gradients of the surest boxes). `box` is how far the
    regression moved and scaled the anchor, the sum of the absolute box codes. `both` is their sum.
    """

    anchors: torch.Tensor  # int64 [N]
    label: int  # from 1
    level: int  # that made the box, P3 is 0
    output: Literal["score", "box", "both"]

    def value(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Compute the target's value [...] of outputs [..., A, K] and [..., A, 4]."""
        score = logits[..., self.anchors, self.label - 1].mean(-1)
        if self.output == "score":
            return score
        box = codes[..., self.anchors, :].abs().sum(-1).mean(-1)
        return box if self.output == "box" else score + box


def run_forward(network: nn.Module, batch: torch.Tensor) -> ForwardPass:
    """Run the network, in eval mode, on one normalised image [1, 3, H, W]; gradients reach back to the neck."""
    with torch.no_grad():
        features = network.backbone(batch)
    # A copy of the list: BiFPN appends P6 and P7 to the one it is given.
    pyramid = network.fpn(list(features))
    logits, codes = flat_outputs(network.class_net(pyramid), network.box_net(pyramid))
    return ForwardPass(batch, features, pyramid, logits[0], codes[0])


def nearest_anchors(anchors_yxyx: torch.Tensor, box_xyxy: torch.Tensor) -> torch.Tensor:
    """Choose the anchors that training would assign to a box: all from ASSIGNED_IOU on, at least the best one.

    Returns:
        Their indices, highest IoU first, int64 [N].
    """
    overlap = box_iou(anchors_yxyx[:, [1, 0, 3, 2]], box_xyxy[None])[:, 0]
    ious, order = overlap.sort(descending=True, stable=True)
    return order[: max(1, int((ious >= ASSIGNED_IOU).sum()))]


def gradients_of(forward_pass: ForwardPass, target: Target) -> list[np.ndarray | None]:
    """Differentiate a target with respect to the activations of each level.

    Returns:
        By level float32 [1, C, h, w]; None for a level that does not contribute to the target. The level that made the
        box always has gradients, even if all of them are zero.
    """
    value = target.value(forward_pass.logits, forward_pass.codes)
    gradients = torch.autograd.grad(value, forward_pass.pyramid, retain_graph=True, materialize_grads=True)
    return [
        gradient.float().cpu().numpy() if level == target.level or gradient.any() else None
        for level, gradient in enumerate(gradients)
    ]
