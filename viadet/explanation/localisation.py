"""Does a map point at the object? The pointing game, and the share of the map's energy inside box and polygon."""

import numpy as np

from viadet.explanation.explained_boxes import ExplainedBox
from viadet.explanation.maps import inside_box
from viadet.images.letterbox import Letterbox
from viadet.images.polygons import polygon_mask


def masks_of(box: ExplainedBox, letterbox: Letterbox) -> dict[str, np.ndarray]:
    """Mark the pixels of the photograph inside a `box`, and inside the `polygon` of its object if it has one.

    Returns:
        By `box` and `polygon`, bool [H, W].
    """
    masks = {"box": inside_box((letterbox.height, letterbox.width), box.box_xyxy)}
    if box.polygon is not None:
        masks["polygon"] = polygon_mask(box.polygon.numpy(), letterbox.width, letterbox.height)
    return masks


def measure_localisation(heat: np.ndarray, masks: dict[str, np.ndarray]) -> dict[str, float]:
    """Measure where a map [H, W] points and where its energy lies; negative values are ignored.

    Returns:
        `pointing_` and `energy_`, each followed by the name of a mask.
    """
    heat = np.maximum(heat, 0)
    pointing = {f"pointing_{name}": float(points_inside(heat, mask)) for name, mask in masks.items()}
    return pointing | {f"energy_{name}": energy_share(heat, mask) for name, mask in masks.items()}


def points_inside(heat: np.ndarray, mask: np.ndarray) -> bool:
    """Tell whether the largest value of a map lies inside a mask (the pointing game, Zhang et al. 2016).

    A map of zeros points nowhere.

    Args:
        heat: not negative, [H, W].
        mask: bool [H, W].
    """
    return bool(heat.max() > 0 and mask.flat[heat.argmax()])


def energy_share(heat: np.ndarray, mask: np.ndarray) -> float:
    """Compute the share of a map's sum that lies inside a mask (Wang et al. 2020); 0 for a map of zeros.

    Args:
        heat: not negative, [H, W].
        mask: bool [H, W].
    """
    total = float(heat.sum(dtype=np.float64))
    return float(heat[mask].sum(dtype=np.float64)) / total if total > 0 else 0.0
