"""Checking an exported file: its detections in images against those of PyTorch."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from viadet.annotations.coco import by_image
from viadet.detection.decoding import MIN_SCORE
from viadet.detection.detections import Detections
from viadet.detection.detector import Detector
from viadet.images.pixels import read_image
from viadet.inference.image_files import find_image_files
from viadet.project.counting import counted, first_names
from viadet.project.errors import UserError
from viadet.project.files import read_json
from viadet.sample.render import render_image

BOX_TOLERANCE_PX = 0.5  # of the image
SCORE_TOLERANCE = 1e-3
VALIDATION_PATH = Path("data/coco/val.json")
IMAGE_DIR = Path("data/raw")  # that its file names are relative to
CHECKED_IMAGES = 5  # of VALIDATION_PATH
RENDERED_PX = 640  # side of the picture for the check if there is no photograph


class Agreement(NamedTuple):
    """How far an exported file is from PyTorch."""

    detections: int  # compared
    box_px: float  # greatest difference of a coordinate
    score: float  # greatest difference of a score


# An exported file as a function from uint8 [1, H, W, 3] to boxes_xyxy [1, D, 4], scores [1, D] and labels [1, D].
ExportedDetector = Callable[[NDArray[np.uint8]], tuple[NDArray, NDArray, NDArray]]


def find_checked_images(arguments: tuple[str, ...]) -> list[Path]:
    """Find the images for the check; without arguments, some of the validation images with objects, if there are any.

    Raises:
        UserError: an argument names no images, or images can't be read.
    """
    paths = find_image_files(arguments).paths if arguments else _validation_images()
    problems = []
    for path in paths:  # before a minute of work; one at a time, as all together may not fit into memory
        try:
            read_image(path)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError(f"{counted(len(problems), 'image')} for the check: {first_names(problems)}")
    return paths


def _validation_images() -> list[Path]:
    if not VALIDATION_PATH.is_file():
        return []
    coco = read_json(VALIDATION_PATH)
    annotations = by_image(coco["annotations"])
    paths = [IMAGE_DIR / image["file_name"] for image in coco["images"] if annotations[image["id"]]]
    return paths[:: max(1, math.ceil(len(paths) / CHECKED_IMAGES))]


def read_checked_images(paths: Sequence[Path]) -> Iterator[tuple[str, torch.Tensor]]:
    """Read the images for the check one at a time, uint8 [3, H, W] with their names; without any, render a picture."""
    for path in paths:
        yield str(path), read_image(path)
    if not paths:
        picture, _ = render_image(np.random.default_rng(0), RENDERED_PX)
        yield "a rendered picture", torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def check_file(
    open_with: Callable[[float], ExportedDetector], detector: Detector, threshold: float, paths: Sequence[Path]
) -> Agreement:
    """Check an exported file as it is and, as there may be nothing to compare then, from the lowest score on.

    Args:
        open_with: opens the file with another least score.
        detector: as for `check_export`.
        threshold: the file's least score.
        paths: images; without any, a rendered picture is compared.

    Returns:
        That from the lowest score on.

    Raises:
        UserError: the file differs from PyTorch, or there is nothing to compare.
    """
    check_export(open_with(threshold), detector, threshold, read_checked_images(paths))
    agreement = check_export(open_with(MIN_SCORE), detector, MIN_SCORE, read_checked_images(paths))
    if not agreement.detections:
        raise UserError("the check found nothing to compare; name images of your objects with --images")
    return agreement


def check_export(
    exported: ExportedDetector, detector: Detector, threshold: float, images: Iterable[tuple[str, torch.Tensor]]
) -> Agreement:
    """Compare the detections in all images, uint8 [3, H, W] by name, with those of the detector that it was made from.

    The detector is on the CPU, without views; `threshold` is the least score that the file was opened for.

    Raises:
        UserError: they differ by more than BOX_TOLERANCE_PX or SCORE_TOLERANCE in an image.
    """
    total = Agreement(0, 0.0, 0.0)
    limit = detector.settings.max_detections
    for name, image in images:
        rgb = image.permute(1, 2, 0).contiguous().numpy()
        boxes_xyxy, scores, labels = exported(rgb[None])
        result = Detections(boxes_xyxy[0], scores[0], labels[0])
        try:
            found = compare(detector(rgb, threshold), result, threshold, limit)
        except ValueError as error:
            raise UserError(
                f"the exported file differs from PyTorch in {name}: {error}; it was not kept, please report this"
            ) from None
        total = Agreement(
            total.detections + found.detections, max(total.box_px, found.box_px), max(total.score, found.score)
        )
    return total


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
