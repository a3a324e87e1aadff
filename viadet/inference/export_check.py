"""Checking an exported file: its detections in images against those of PyTorch."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from viadet.detection.detections import Detections
from viadet.detection.detector import Detector
from viadet.images.pixels import read_image
from viadet.inference.image_files import find_image_files
from viadet.project.errors import UserError
from viadet.sample.render import render_image
from viadet.via.data_files import is_image_file

BOX_TOLERANCE_PX = 0.5  # of the image
SCORE_TOLERANCE = 1e-3
VALIDATION_DIR = Path("data/raw/val")
CHECKED_IMAGES = 5  # of VALIDATION_DIR
RENDERED_PX = 640  # side of the picture for the check if there is no photograph


class Agreement(NamedTuple):
    """How far an exported file is from PyTorch."""

    detections: int  # compared
    box_px: float  # greatest difference of a coordinate
    score: float  # greatest difference of a score


# An exported file as a function from uint8 [1, H, W, 3] to boxes_xyxy [1, D, 4], scores [1, D] and labels [1, D].
ExportedDetector = Callable[[NDArray[np.uint8]], tuple[NDArray, NDArray, NDArray]]


def read_checked_images(arguments: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Read the images for the check, uint8 [3, H, W] by name; without any, some of the validation images or a picture.

    Raises:
        UserError: an argument names no images, or an image can't be read.
    """
    if arguments:
        paths = find_image_files(arguments).paths
    else:
        paths = sorted(path for path in VALIDATION_DIR.rglob("*") if is_image_file(path))
        paths = paths[:: max(1, math.ceil(len(paths) / CHECKED_IMAGES))]
    if paths:
        return {str(path): read_image(path) for path in paths}
    picture, _ = render_image(np.random.default_rng(0), RENDERED_PX)
    return {"a rendered picture": torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()}


def check_export(
    exported: ExportedDetector, detector: Detector, threshold: float, images: dict[str, torch.Tensor]
) -> Agreement:
    """Compare the detections in all images, uint8 [3, H, W] by name, with those of the detector that it was made from.

    The detector is on the CPU, without views; `threshold` is the least score that the file was made for.

    Raises:
        UserError: they differ by more than BOX_TOLERANCE_PX or SCORE_TOLERANCE in an image.
    """
    agreements = []
    limit = detector.settings.max_detections
    for name, image in images.items():
        rgb = image.permute(1, 2, 0).contiguous().numpy()
        boxes_xyxy, scores, labels = exported(rgb[None])
        result = Detections(boxes_xyxy[0], scores[0], labels[0])
        try:
            agreements.append(compare(detector(rgb, threshold), result, threshold, limit))
        except ValueError as error:
            raise UserError(
                f"the exported file differs from PyTorch in {name}: {error}; it was not kept, please report this"
            ) from None
    counts, boxes_px, scores = zip(*agreements, strict=True)
    return Agreement(sum(counts), max(boxes_px), max(scores))


def compare(expected: Detections, result: Detections, threshold: float, max_detections: int) -> Agreement:
    """Match each detection with the nearest box of the same label on the other side.

    Only a score within the tolerance of the threshold, or of the last one if `max_detections` are reached, needs no
    match: there, a difference in the last digit decides whether a detection is kept.

    Raises:
        ValueError: a detection has no match, or its match is too far off.
    """
    floors = [side.scores[-1] for side in (expected, result) if len(side) >= max_detections]
    needed = max([threshold, *floors]) + SCORE_TOLERANCE
    pairs = []
    for left, right in ((expected, result), (result, expected)):
        is_free = np.ones(len(right), bool)
        for box_xyxy, score, label in zip(left.boxes_xyxy, left.scores, left.labels, strict=True):
            off_px = np.where(right.labels == label, np.abs(right.boxes_xyxy - box_xyxy).max(1, initial=0.0), np.inf)
            off_score = np.abs(right.scores - score)
            fits = is_free & (off_px <= BOX_TOLERANCE_PX) & (off_score <= SCORE_TOLERANCE)
            if fits.any():
                index = np.where(fits, off_px, np.inf).argmin()
                is_free[index] = False
                pairs.append((off_px[index], off_score[index]))
            elif score > needed:
                side = "PyTorch" if left is expected else "the file"
                nearest = f"the nearest box is {off_px.min():.2f} px off" if np.isfinite(off_px).any() else "none"
                raise ValueError(f"{side} has a detection of score {score:.4f} that the other lacks ({nearest})")
    box_px, score = np.max(pairs, 0) if pairs else (0.0, 0.0)
    return Agreement(len(expected), float(box_px), float(score))
