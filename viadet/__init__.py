"""EfficientDet on images annotated with VIA: what the stages are made of, a room for each kind of work."""

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from viadet.detection.detector import Detector


def load(folder: str | PathLike[str], device: str = "auto", size: int | None = None, views: bool = False) -> "Detector":
    """Load a trained detector from a model folder; see `viadet.detection.detector` for the arguments and results.

    Example:
        >>> detections = viadet.load("data/model")("photograph.jpg")  # doctest: +SKIP
    """
    from viadet.detection.detector import load_detector  # torch is imported only here

    return load_detector(folder, device, size, views)
