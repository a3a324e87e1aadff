"""Class activation maps of an EfficientDet's boxes at the levels of its neck.

One forward pass an image serves all its boxes: the maps of grad-cam's methods are made from the activations of that
pass and the gradients of one box after the other. AblationCAM and ScoreCAM need a pass a channel, again for all boxes;
grad-cam's own take one a box and channel, and its AblationCAM sets channels to -1e7 where maps are signed, as here.
A box takes part only in the gradients of its own level and finer ones: BiFPN's last cell builds P4 from P3, P5 from P4
and so on, never the other way round.
"""

from collections.abc import Callable
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
import torch
from pytorch_grad_cam import (
    EigenCAM,
    EigenGradCAM,
    GradCAM,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    RandomCAM,
    XGradCAM,
)
from pytorch_grad_cam.base_cam import BaseCAM
from torch import nn
from torch.nn import functional
from torchvision.ops import box_iou

from stages.detection.detect import flat_outputs

LIBRARY = {
    "GradCAM": GradCAM,  # Selvaraju et al. 2017
    "GradCAM++": GradCAMPlusPlus,  # Chattopadhay et al. 2018
    "HiResCAM": HiResCAM,  # Draelos and Carin 2020
    "XGradCAM": XGradCAM,  # Fu et al. 2020
    "LayerCAM": LayerCAM,  # Jiang et al. 2021
    "EigenCAM": EigenCAM,  # Muhammad and Yeasin 2020
    "EigenGradCAM": EigenGradCAM,
    "RandomCAM": RandomCAM,  # random weights of the channels: the baseline
}
MATCH_IOU = 0.5  # of an anchor that effdet's training assigns to an object
CHUNK = 8  # inputs a pass, where a method needs many


class Pass(NamedTuple):
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


def forward_pass(network: nn.Module, batch: torch.Tensor) -> Pass:
    """Run the network, in eval mode, on one normalised image [1, 3, H, W]."""
    with torch.no_grad():
        features = network.backbone(batch)
    # BiFPN appends P6 and P7 to the list it is given.
    pyramid = network.fpn(list(features))
    logits, codes = flat_outputs(network.class_net(pyramid), network.box_net(pyramid))
    return Pass(batch, features, pyramid, logits[0], codes[0])


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


def gradients_of(passed: Pass, target: Target) -> list[np.ndarray | None]:
    """Differentiate a target by the activations of each level, [1, C, h, w]; None where the level has no part in it.

    The level that made the box always has one, even should all gradients be zero there.
    """
    value = target.value(passed.logits, passed.codes)
    gradients = torch.autograd.grad(value, passed.pyramid, retain_graph=True, materialize_grads=True)
    return [
        gradient.float().cpu().numpy() if level == target.level or gradient.any() else None
        for level, gradient in enumerate(gradients)
    ]


def cams(
    method: str,
    network: nn.Module,
    passed: Pass,
    targets: list[Target],
    gradients: list[list[np.ndarray | None]],
    seeds: list[tuple[int, ...]],
    own_only: bool = False,
) -> list[dict[int, np.ndarray]]:
    """Compute the maps of all targets of an image.

    Args:
        method: a key of LIBRARY, or AblationCAM, ScoreCAM.
        network: the one that `passed` went through.
        passed: its pass.
        targets: what is explained.
        gradients: of each target, by `gradients_of`.
        seeds: of each target, for RandomCAM.
        own_only: only the level that made the box.

    Returns:
        For each target, by level, its map float32 [h, w] of the whole input, before the usual ReLU. Levels without a
        part in the target have none.
    """
    activations = [level.detach().float().cpu().numpy() for level in passed.pyramid]
    library = LIBRARY[method](network, []) if method in LIBRARY else None
    maps = [{} for _ in targets]
    for level in range(len(activations)):
        rows = [
            row
            for row, target in enumerate(targets)
            if gradients[row][level] is not None and (level == target.level or not own_only)
        ]
        if rows and library is None:
            channel_values = ablated_values if method == "AblationCAM" else masked_values
            weights = channel_values(network, passed, [targets[row] for row in rows], level)
            found = np.tensordot(weights, activations[level][0], 1)
        elif method == "EigenCAM":  # it knows of no target
            found = [_library_map(library, passed, activations[level], activations[level])] * len(rows) if rows else []
        else:
            found = []
            for row in rows:
                # The library draws RandomCAM's weights from numpy's global generator.
                np.random.seed([*seeds[row], level])  # noqa: NPY002
                found.append(_library_map(library, passed, activations[level], gradients[row][level]))
        for row, values in zip(rows, found, strict=True):
            maps[row][level] = values.astype(np.float32)
    return maps


def _library_map(library: BaseCAM, passed: Pass, activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    return library.get_cam_image(passed.batch, None, [], activations, gradients, eigen_smooth=False)[0]


def ablated_values(network: nn.Module, passed: Pass, targets: list[Target], level: int) -> np.ndarray:
    """AblationCAM's weights (Desai and Ramaswamy 2020): what a target loses when a channel is set to 0, [targets, C].

    The paper divides by the target's value, which scales a map as a whole; a logit may be negative and would turn it.
    """
    channels = passed.pyramid[level].shape[1]
    module = _maker_of(network, passed, level)

    def values(start: int, stop: int) -> torch.Tensor:
        def ablate(_module: nn.Module, _inputs: tuple, output: torch.Tensor) -> torch.Tensor:
            output = output.clone()
            output[torch.arange(stop - start), torch.arange(start, stop)] = 0
            return output

        with _hooked(module, ablate):
            pyramid = network.fpn([feature.expand(stop - start, -1, -1, -1) for feature in passed.features])
        return _values(targets, *flat_outputs(network.class_net(pyramid), network.box_net(pyramid)))

    whole = _values(targets, passed.logits, passed.codes).detach()
    return (whole[:, None] - _in_chunks(values, channels)).cpu().numpy()


def masked_values(network: nn.Module, passed: Pass, targets: list[Target], level: int) -> np.ndarray:
    """ScoreCAM's weights (Wang et al. 2020): targets of the image seen through each channel, [targets, C]."""
    size = passed.batch.shape[-2:]
    channels = passed.pyramid[level].detach()[0]
    # As grad-cam does it, corners aligned.
    masks = functional.interpolate(channels[None], size, mode="bilinear", align_corners=True)[0]
    low, high = masks.amin((1, 2), keepdim=True), masks.amax((1, 2), keepdim=True)
    masks = (masks - low) / (high - low + 1e-8)

    def values(start: int, stop: int) -> torch.Tensor:
        return _values(targets, *flat_outputs(*network(passed.batch * masks[start:stop, None])))

    return _in_chunks(values, len(channels)).softmax(1).cpu().numpy()


def _values(targets: list[Target], logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    return torch.stack([target.value(logits, codes) for target in targets])


def _in_chunks(values: Callable[[int, int], torch.Tensor], count: int) -> torch.Tensor:
    with torch.no_grad():
        parts = [values(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    return torch.cat(parts, 1)


def _maker_of(network: nn.Module, passed: Pass, level: int) -> nn.Module:
    """Find the module of the neck whose output is a level: node 3 + level of BiFPN's last cell, elsewhere in others."""
    made = []
    hooks = [
        module.register_forward_hook(lambda module, _, output: made.append((module, output)))
        for module in network.fpn.modules()
    ]
    with torch.no_grad():
        pyramid = network.fpn(list(passed.features))
    for hook in hooks:
        hook.remove()
    return next(module for module, output in made if output is pyramid[level])


@contextmanager
def _hooked(module: nn.Module, hook: Callable):  # noqa: ANN202 - a context manager without a value
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
