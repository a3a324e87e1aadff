"""Feature maps of an image: the channels of some layers, or their mean, and the values that their colours span."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from viadet.detection.detections import Detections
from viadet.detection.sized_network import SizedNetwork
from viadet.explanation.layers import layer_outputs
from viadet.explanation.maps import crop_cells
from viadet.images.letterbox import InputImage, Letterbox
from viadet.images.pixels import read_image
from viadet.project.params import FeatureMapsParams


class LayerMaps(NamedTuple):
    """Some channels of one layer, or their mean."""

    title: str
    maps: torch.Tensor  # float32 [N, h, w], coarse
    channels: list[int]  # [N], or empty for a mean


class ImageMaps(NamedTuple):
    """One image with everything that its picture shows."""

    input_image: InputImage
    boxes_xyxy: np.ndarray  # float32 [M, 4], detections in px of the input
    labels: list[int]  # [M], from 1
    layer_groups: list[list[LayerMaps]]  # by name in `feature_maps.layers`: a name such as `neck` has several layers


def map_image(sized: SizedNetwork, path: Path, detections: Detections, params: FeatureMapsParams) -> ImageMaps:
    """Run the network on one image and reduce the outputs of the layers that `params` names.

    Raises:
        UserError: the image can't be read, or `params` names a layer that does not exist.
    """
    input_image = sized.letterbox(read_image(path))
    batch = sized.normalise(input_image.canvas[None])
    layer_groups = [
        [reduce_channels(title, output, params, input_image.letterbox) for title, output in outputs]
        for outputs in layer_outputs(sized.network, batch, params.layers)
    ]
    shown = detections.above(params.score_threshold)
    return ImageMaps(input_image, input_image.letterbox.to_input(shown.boxes_xyxy), shown.labels.tolist(), layer_groups)


def reduce_channels(title: str, output: torch.Tensor, params: FeatureMapsParams, letterbox: Letterbox) -> LayerMaps:
    """Reduce channels [C, h, w] to their mean, the strongest one (`max`) or the strongest ones (`topk`).

    Reducing before enlarging gives the same maps and saves gigabytes. Which channels are strongest is decided on the
    photograph alone, without the letterbox around it.
    """
    if params.reduction == "mean":
        return LayerMaps(title, output.mean(0, keepdim=True), [])
    count = 1 if params.reduction == "max" else math.prod(params.topk)
    channels = strongest_channels(crop_cells(output, letterbox), count)
    return LayerMaps(title, output[channels], channels.tolist())


def strongest_channels(values: torch.Tensor, count: int) -> torch.Tensor:
    """Choose the channels of [C, h, w] with the highest mean absolute activation, strongest first, int64 [count]."""
    return values.abs().mean((1, 2)).argsort(descending=True, stable=True)[:count]


def value_ranges(images: list[ImageMaps]) -> dict[str, tuple[float, float]]:
    """Find each layer's smallest and largest value over all images, by the layer's title."""
    ranges = {}
    for image in images:
        for layer in (layer for group in image.layer_groups for layer in group):
            low, high = ranges.get(layer.title, (math.inf, -math.inf))
            cells = crop_cells(layer.maps, image.input_image.letterbox)
            ranges[layer.title] = (min(low, float(cells.min())), max(high, float(cells.max())))
    return ranges
