"""Class activation maps of an EfficientDet's boxes at the levels of its neck.

One forward pass an image serves all its boxes: the maps of grad-cam's methods are made from the activations of that
pass and the gradients of one box after the other. AblationCAM and ScoreCAM need a pass a channel, again for all boxes;
grad-cam's own take one a box and channel, and its AblationCAM sets channels to -1e7 where maps are signed, as here.
A box takes part only in the gradients of its own level and finer ones: BiFPN's last cell builds P4 from P3, P5 from P4
and so on, never the other way round.
"""

import numpy as np
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

from viadet.explanation.channel_weights import ablated_values, masked_values
from viadet.explanation.targets import ForwardPass, Target

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


def cams(
    method: str,
    network: nn.Module,
    passed: ForwardPass,
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


def _library_map(library: BaseCAM, passed: ForwardPass, activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    return library.get_cam_image(passed.batch, None, [], activations, gradients, eigen_smooth=False)[0]
