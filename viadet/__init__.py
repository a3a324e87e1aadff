"""EfficientDet on images annotated with VIA: what the stages are made of, a room for each kind of work."""

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from viadet.detection.detector import Detector


def load(
    folder: str | PathLike[str] | Sequence[str | PathLike[str]],
    device: str = "auto",
    size: int | None = None,
    views: bool = False,
) -> "Detector":
    """Load a trained detector from a model folder; see `load_detector` in `viadet.detection.loading` for the arguments.

    Of several folders, the models detect together: each at its own size, a box has the mean of the scores that they
    give it, and the least score, the views and the most detections are those of the first folder.

    Example:
        >>> detections = viadet.load("data/model")("photograph.jpg")  # doctest: +SKIP
        >>> detections = viadet.load(["seed_0", "seed_1", "seed_2"])("photograph.jpg")  # doctest: +SKIP
    """
    from viadet.detection.loading import load_detector  # torch is imported only here

    return load_detector(folder, device, size, views)
