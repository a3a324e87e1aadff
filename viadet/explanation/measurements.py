"""All measurements of the maps of an image's detections, as they are collected over images.

Does a map point at the object? The pointing game, and the share of the map's energy inside box and polygon.
"""

from collections.abc import Iterator

import numpy as np
from torch import nn

from viadet.explanation.explained_boxes import ExplainedBox, ExplainedImage
from viadet.explanation.maps import BoxMaps, enlarge_box_maps, inside_box, sum_of_levels
from viadet.explanation.perturbation import BOX_CENTRE, CURVES, FRACTIONS, centre_map, deletion_insertion
from viadet.explanation.targets import ForwardPass, Target
from viadet.images.letterbox import Letterbox
from viadet.images.polygons import polygon_mask

# (method, level, name of the measurement); a curve has its name in place of a level, then one of FRACTIONS.
MeasurementKey = tuple[str, str, str | float]
Measurements = dict[MeasurementKey, list[float]]  # one value for each detection that was measured


def evenly_spread(count: int, limit: int | None) -> list[int]:
    """Choose at most `limit` of `count` images, spread evenly over their list; indices. None: all of them."""
    chosen = count if limit is None else min(limit, count)
    return [index * count // chosen for index in range(chosen)]


def measure_image(
    network: nn.Module,
    image: ExplainedImage,
    coarse_maps: dict[str, list[BoxMaps]],
    level_names: list[str],
    with_perturbation: bool,
) -> Iterator[tuple[MeasurementKey, float]]:
    """Measure the maps of all detections of an image.

    Args:
        network: the one that made the maps.
        image: the image.
        coarse_maps: by method, of each detection.
        level_names: of the neck's levels.
        with_perturbation: also measure deletion and insertion, at the level that made the box.

    Yields:
        A key and its value for one detection. Its level is one that contributes to the detection, the one that made
        it (`own`), or the `sum` of all. The method `chance` is a map without any preference. The method BOX_CENTRE has
        deletion and insertion only.
    """
    letterbox = image.input_image.letterbox
    for row, box in enumerate(image.detections):
        masks = masks_of(box, letterbox)
        yield from ((("chance", "own", name), float(mask.mean())) for name, mask in masks.items())
        ranking_maps = {BOX_CENTRE: centre_map(masks["box"].shape, box.box_xyxy)}
        for method, method_maps in coarse_maps.items():
            maps = enlarge_box_maps(method_maps[row], letterbox)
            ranking_maps[method] = maps[box.target.level]
            maps_by_name = {level_names[level]: heat for level, heat in maps.items()}
            maps_by_name |= {"own": maps[box.target.level], "sum": sum_of_levels(maps)}
            for level_name, heat in maps_by_name.items():
                for name, value in measure_localisation(heat, masks).items():
                    yield (method, level_name, name), value
        if with_perturbation:
            yield from _measure_curves(network, image.forward_pass, ranking_maps, box.target)


def _measure_curves(
    network: nn.Module, forward_pass: ForwardPass, maps_by_method: dict[str, np.ndarray], target: Target
) -> Iterator[tuple[MeasurementKey, float]]:
    for method, heat in maps_by_method.items():
        for curve, shares in zip(CURVES, deletion_insertion(network, forward_pass, heat, target), strict=True):
            for fraction, share in zip(FRACTIONS, shares, strict=True):
                yield (method, curve, fraction), share


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
