"""All measurements of the maps of an image's detections, as they are collected over images."""

from collections.abc import Iterator

import numpy as np
from torch import nn

from viadet.explanation.explained_boxes import ExplainedImage
from viadet.explanation.localisation import masks_of, measure_localisation
from viadet.explanation.maps import BoxMaps, enlarge_box_maps, sum_of_levels
from viadet.explanation.perturbation import BOX_CENTRE, CURVES, FRACTIONS, centre_map, deletion_insertion
from viadet.explanation.targets import ForwardPass, Target

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
            yield from _measure_levels(method, maps_by_name, masks)
        if with_perturbation:
            yield from _measure_curves(network, image.forward_pass, ranking_maps, box.target)


def _measure_levels(
    method: str, maps_by_name: dict[str, np.ndarray], masks: dict[str, np.ndarray]
) -> Iterator[tuple[MeasurementKey, float]]:
    for level_name, heat in maps_by_name.items():
        for name, value in measure_localisation(heat, masks).items():
            yield (method, level_name, name), value


def _measure_curves(
    network: nn.Module, forward_pass: ForwardPass, maps_by_method: dict[str, np.ndarray], target: Target
) -> Iterator[tuple[MeasurementKey, float]]:
    for method, heat in maps_by_method.items():
        for curve, shares in zip(CURVES, deletion_insertion(network, forward_pass, heat, target), strict=True):
            for fraction, share in zip(FRACTIONS, shares, strict=True):
                yield (method, curve, fraction), share
