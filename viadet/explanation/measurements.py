"""All measurements of the maps of an image's detections, as they are collected over images.

Does a map point at the object? The pointing game, and the share of the map's energy inside box and polygon.
"""

from collections import defaultdict

import numpy as np
from torch import nn

from viadet.explanation.explained_boxes import ExplainedBox, ExplainedImage
from viadet.explanation.maps import BoxMaps, enlarge_box_maps, inside_box, sum_of_levels
from viadet.explanation.perturbation import BOX_CENTRE, CURVES, centre_map, deletion_insertion
from viadet.images.letterbox import Letterbox
from viadet.images.polygons import polygon_mask

# By (method, level, name of the measurement), or (method, one of CURVES): a value for each detection that was measured,
# or a list of values by FRACTIONS. New keys have an empty list.
Measurements = defaultdict[tuple[str, ...], list]


def evenly_spread(count: int, limit: int | None) -> list[int]:
    """Choose at most `limit` of `count` images, spread evenly over their list; indices. None: all of them."""
    chosen = count if limit is None else min(limit, count)
    return [index * count // chosen for index in range(chosen)]


def measure_image(
    measurements: Measurements,
    network: nn.Module,
    image: ExplainedImage,
    coarse_maps: dict[str, list[BoxMaps]],
    level_names: list[str],
    with_perturbation: bool,
) -> None:
    """Add the measurements of the maps of all detections of an image.

    The level is one that contributes to the detection, the one that made it (`own`), or the `sum` of all. The method
    `chance` is a map without any preference. The method BOX_CENTRE has deletion and insertion only.

    Args:
        measurements: get a value for each detection.
        network: the one that made the maps.
        image: with its detections.
        coarse_maps: by method, of each detection.
        level_names: of the neck's levels.
        with_perturbation: also measure deletion and insertion, at the level that made the box.
    """
    letterbox = image.input_image.letterbox
    for row, box in enumerate(image.detections):
        masks = masks_of(box, letterbox)
        for name, mask in masks.items():
            measurements["chance", "own", name].append(float(mask.mean()))
        ranking_maps = {BOX_CENTRE: centre_map(masks["box"].shape, box.box_xyxy)}
        for method, method_maps in coarse_maps.items():
            maps = enlarge_box_maps(method_maps[row], letterbox)
            ranking_maps[method] = maps[box.target.level]
            maps_by_name = {level_names[level]: heat for level, heat in maps.items()}
            maps_by_name |= {"own": maps[box.target.level], "sum": sum_of_levels(maps)}
            for level_name, heat in maps_by_name.items():
                add_localisation(measurements, (method, level_name), heat, masks)
        for method, heat in ranking_maps.items() if with_perturbation else ():
            shares_by_curve = deletion_insertion(network, image.forward_pass, heat, box.target)
            for curve, shares in zip(CURVES, shares_by_curve, strict=True):
                measurements[method, curve].append(shares)


def add_localisation(
    measurements: Measurements, method_level: tuple[str, str], heat: np.ndarray, masks: dict[str, np.ndarray]
) -> None:
    """Measure where a map [H, W] points and where its energy lies; negative values are ignored.

    The measurements are `pointing_` and `energy_`, each followed by the name of a mask.
    """
    heat = np.maximum(heat, 0)
    for name, mask in masks.items():
        measurements[*method_level, f"pointing_{name}"].append(float(points_inside(heat, mask)))
        measurements[*method_level, f"energy_{name}"].append(energy_share(heat, mask))


def masks_of(box: ExplainedBox, letterbox: Letterbox) -> dict[str, np.ndarray]:
    """Mark the pixels of the photograph in a `box`, and in the `polygon` of its object if it has one, bool [H, W]."""
    masks = {"box": inside_box((letterbox.height, letterbox.width), box.box_xyxy)}
    if box.polygon is not None:
        masks["polygon"] = polygon_mask(box.polygon.numpy(), letterbox.width, letterbox.height)
    return masks


def points_inside(heat: np.ndarray, mask: np.ndarray) -> bool:
    """Tell whether the largest value of a map [H, W] lies inside a mask (the pointing game, Zhang et al. 2016).

    A map of zeros points nowhere.
    """
    return bool(heat.max() > 0 and mask.flat[heat.argmax()])


def energy_share(heat: np.ndarray, mask: np.ndarray) -> float:
    """Compute which share of a map without negative values lies in a mask (Wang et al. 2020); 0 for a map of zeros."""
    total = float(heat.sum(dtype=np.float64))
    return float(heat[mask].sum(dtype=np.float64)) / total if total > 0 else 0.0
