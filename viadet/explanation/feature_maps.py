"""Feature maps of an image: the channels of some layers, or their mean, and the values that their colours span."""

import math
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from viadet.explanation.layers import layer_outputs
from viadet.explanation.maps import crop_cells
from viadet.images.letterbox import InputImage, Letterbox, letterbox_image
from viadet.images.pixels import read_image
from viadet.network.boxes import boxes_xyxy_of
from viadet.network.build import NetworkSpec, prepare_images
from viadet.project.params import FeatureMapsParams


class LayerMaps(NamedTuple):
    """Some channels of one layer, or their mean."""

    title: str
    maps: torch.Tensor  # float32 [N, h, w], coarse
    channels: list[int]  # [N], or empty for a mean


class ImageMaps(NamedTuple):
    """One image with everything that its picture shows."""

    input_image: InputImage
    boxes_xyxy: torch.Tensor  # float32 [M, 4], detections in px of the input
    labels: list[int]  # [M], from 1
    layer_groups: list[list[LayerMaps]]  # by name in `feature_maps.layers`: a name such as `neck` has several layers


def map_image(
    network: nn.Module,
    spec: NetworkSpec,
    image_dir: Path,
    entry: dict,
    results: list[dict],
    params: FeatureMapsParams,
) -> ImageMaps:
    """Run the network on one image and reduce the outputs of the layers that `params` names.

    Args:
        network: in eval mode.
        spec: what it was built from.
        image_dir: folder of the images.
        entry: of the image, in COCO format.
        results: the detections of the image, in COCO results format.
        params: layers, reduction and score threshold.

    Raises:
        UserError: the image can't be read, or `params` names a layer that does not exist.
    """
    input_image = letterbox_image(read_image(image_dir / entry["file_name"]), spec.input_wh, spec.fill_rgb)
    batch = prepare_images(input_image.canvas[None], spec, next(network.parameters()).device)
    layer_groups = [
        [reduce_channels(title, output, params, input_image.letterbox) for title, output in outputs]
        for outputs in layer_outputs(network, batch, params.layers)
    ]
    detections = [result for result in results if result["score"] >= params.score_threshold]
    boxes_xyxy = boxes_xyxy_of(detections) * torch.tensor(input_image.letterbox.scale_xy * 2)
    labels = [result["category_id"] for result in detections]
    return ImageMaps(input_image, boxes_xyxy, labels, layer_groups)


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
    lows, highs = defaultdict(lambda: math.inf), defaultdict(lambda: -math.inf)
    for image in images:
        for layer in (layer for group in image.layer_groups for layer in group):
            cells = crop_cells(layer.maps, image.input_image.letterbox)
            lows[layer.title] = min(lows[layer.title], float(cells.min()))
            highs[layer.title] = max(highs[layer.title], float(cells.max()))
    return {title: (lows[title], highs[title]) for title in lows}
