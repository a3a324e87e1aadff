"""Class activation maps of an EfficientDet's boxes at the levels of its neck.

All boxes of an image share one forward pass: the maps of grad-cam's methods are made from its activations and the
gradients of one box after the other. AblationCAM and ScoreCAM need a forward pass a channel, again for all boxes;
grad-cam's own versions take one a box and channel, and its AblationCAM sets channels to -1e7 where maps are signed, as
they are here. A box has gradients at its own level and finer ones only: the last cell of the BiFPN builds P4 from P3,
P5 from P4 and so on, never the other way round.
"""

from collections.abc import Iterable

import numpy as np
import pytorch_grad_cam as grad_cam
from torch import nn

from viadet.explanation.channel_weights import ablation_weights, score_weights
from viadet.explanation.explained_boxes import ExplainedBox
from viadet.explanation.maps import BoxMaps
from viadet.explanation.targets import ForwardPass

GRAD_CAM_METHODS = {
    "GradCAM": grad_cam.GradCAM,  # Selvaraju et al. 2017
    "GradCAM++": grad_cam.GradCAMPlusPlus,  # Chattopadhay et al. 2018
    "HiResCAM": grad_cam.HiResCAM,  # Draelos and Carin 2020
    "XGradCAM": grad_cam.XGradCAM,  # Fu et al. 2020
    "LayerCAM": grad_cam.LayerCAM,  # Jiang et al. 2021
    "RandomCAM": grad_cam.RandomCAM,
}
EIGEN_METHODS = ("EigenCAM", "EigenGradCAM")  # Muhammad and Yeasin 2020; of activations, or of these times gradients
CHANNEL_METHODS = {"AblationCAM": ablation_weights, "ScoreCAM": score_weights}
BASELINE = "RandomCAM"  # random channel weights: what any method should beat


def class_activation_maps(
    method: str, network: nn.Module, forward_pass: ForwardPass, boxes: list[ExplainedBox], own_level_only: bool = False
) -> list[BoxMaps]:
    """Compute a method's maps of some boxes of an image.

    Args:
        method: one of GRAD_CAM_METHODS, EIGEN_METHODS or CHANNEL_METHODS.
        network: in eval mode.
        forward_pass: the network's, of the image.
        boxes: with gradients.
        own_level_only: only the level that made the box.

    Returns:
        For each box, by level, its coarse map float32 [h, w], before the usual ReLU. Levels that do not contribute to
        the box have none.
    """
    maps = [{} for _ in boxes]
    for level in range(len(forward_pass.pyramid)):
        rows = [
            row
            for row, box in enumerate(boxes)
            if box.gradients[level] is not None and (level == box.target.level or not own_level_only)
        ]
        if rows:
            level_maps = _maps_at_level(method, network, forward_pass, [boxes[row] for row in rows], level)
            for row, level_map in zip(rows, level_maps, strict=True):
                maps[row][level] = level_map.astype(np.float32)
    return maps


def _maps_at_level(
    method: str, network: nn.Module, forward_pass: ForwardPass, boxes: list[ExplainedBox], level: int
) -> Iterable[np.ndarray]:
    """Compute one map [h, w] for each box."""
    activations = forward_pass.pyramid[level].detach().float().cpu().numpy()
    if method in CHANNEL_METHODS:
        weights = CHANNEL_METHODS[method](network, forward_pass, [box.target for box in boxes], level)
        return np.tensordot(weights, activations[0], 1)
    if method == "EigenCAM":  # does not depend on the target
        return [principal_map(activations[0])] * len(boxes)
    if method == "EigenGradCAM":
        return [principal_map((activations * box.gradients[level])[0]) for box in boxes]
    cam, maps = GRAD_CAM_METHODS[method](network, []), []
    for box in boxes:
        # grad-cam draws RandomCAM's weights from numpy's global generator.
        np.random.seed([*box.seed, level])  # noqa: NPY002
        gradients = box.gradients[level]
        maps += list(cam.get_cam_image(forward_pass.batch, None, [], activations, gradients, eigen_smooth=False))
    return maps


def principal_map(channels: np.ndarray) -> np.ndarray:
    """Project channels [C, h, w] onto their first principal component, [h, w].

    Its sign is arbitrary: as grad-cam has it from a singular value decomposition, what sticks out is negative in one
    map and positive in the next. Here the value farthest from 0 is positive (Chung and Ying 2025, "Seg-Eigen-CAM",
    equation 13). The eigenvectors of the small matrix [C, C] are the same as those of the decomposition, which for a
    level of 144 x 144 cells takes gigabytes.
    """
    cells = channels.reshape(len(channels), -1).T.astype(np.float64)
    cells -= cells.mean(axis=0)
    _, eigenvectors = np.linalg.eigh(cells.T @ cells)  # the largest eigenvalue is the last
    projection = (cells @ eigenvectors[:, -1]).reshape(channels.shape[1:])
    return projection if projection.max() >= -projection.min() else -projection
