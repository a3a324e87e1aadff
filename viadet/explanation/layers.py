"""What any layer of the network puts out for an image."""

import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from viadet.explanation.maps import crop_cells, strongest_channels
from viadet.images.letterbox import Letterbox, letterbox_image, letterbox_of
from viadet.images.pixels import read_image
from viadet.network.boxes import boxes_xyxy_of
from viadet.network.build import NetworkSpec, level_names, prepare_images
from viadet.project.errors import UserError
from viadet.project.params import FeatureMapsParams


class LayerMaps(NamedTuple):
    """Some channels of one layer, or their mean."""

    title: str
    values: torch.Tensor  # float32 [N, h, w], the whole input of the network
    channels: list[int]  # [N], or empty for a mean


class ImageMaps(NamedTuple):
    """One image with all that its picture shows."""

    file_name: str
    photograph: torch.Tensor  # uint8 [3, H, W], as it lies in the network's input
    letterbox: Letterbox
    boxes_xyxy: torch.Tensor  # float32 [M, 4], detections in px of `photograph`
    layers: list[list[LayerMaps]]  # by name in `feature_maps.layers`: a group such as the neck has several


def layer_outputs(network: nn.Module, batch: torch.Tensor, names: list[str]) -> list[list[tuple[str, torch.Tensor]]]:
    """Run the network on one image and collect what the named layers put out.

    Args:
        network: in eval mode.
        batch: normalised, [1, 3, H, W].
        names: `backbone`, `neck`, one of their levels (C3 to C5, P3 to P7), or the path of a module.

    Returns:
        For each name its maps, each with its own name, float32 [C, h, w].

    Raises:
        UserError: no layer has that name, or it makes no maps.
    """
    backbone_levels = [f"C{int(math.log2(stride))}" for stride in network.backbone.feature_info.reduction()]
    groups = {"backbone": (network.backbone, backbone_levels), "neck": (network.fpn, level_names(network))}
    group_of = {level: group for group, (_, levels) in groups.items() for level in levels}
    modules = dict(network.named_modules()) | {group: module for group, (module, _) in groups.items()}
    for name in names:
        if not name or (name not in modules and name not in group_of):
            raise UserError(unknown_layer(name, [*groups, *group_of], modules))
    outputs = defaultdict(list)
    sources = {group_of.get(name, name) for name in names}
    hooks = [modules[source].register_forward_hook(_keep_maps(outputs[source])) for source in sources]
    with torch.inference_mode():
        network(batch)
    for hook in hooks:
        hook.remove()

    named = []
    for name in names:
        maps = outputs[group_of.get(name, name)]
        if not maps:
            raise UserError(f"feature_maps.layers: {name} makes no maps of one image; name a layer below or above it")
        if name in groups:
            named.append(list(zip(groups[name][1], maps, strict=True)))
        elif name in group_of:
            named.append([(name, maps[groups[group_of[name]][1].index(name)])])
        else:  # the heads' modules run once a level
            titles = [name] if len(maps) == 1 else [f"{name} [{index}]" for index in range(len(maps))]
            named.append(list(zip(titles, maps, strict=True)))
    return named


def _keep_maps(kept: list[torch.Tensor]) -> Callable:
    def hook(_module: nn.Module, _inputs: tuple, output: torch.Tensor | list) -> None:
        # A copy of the list: BiFPN appends P6 and P7 to the list that the backbone gave it.
        for values in list(output) if isinstance(output, list | tuple) else [output]:
            if isinstance(values, torch.Tensor) and values.ndim == 4:
                # A clone: the activation behind a batch norm works in place.
                kept.append(values[0].float().cpu().clone())

    return hook


def unknown_layer(name: str, short_names: list[str], modules: dict[str, nn.Module]) -> str:
    """Say which names are valid: the short ones, and the modules below the part of the path that exists."""
    known = name
    while known not in modules:
        known = known.rpartition(".")[0]
    children = [f"{known}.{child}".lstrip(".") for child, _ in modules[known].named_children()]
    below = f", or a module's path{f' below {known}' if known else ''}: {', '.join(children)}" if children else ""
    return f"feature_maps.layers: this network has no layer {name!r}; it has {', '.join(short_names)}{below}"


def reduce_channels(title: str, values: torch.Tensor, params: FeatureMapsParams, letterbox: Letterbox) -> LayerMaps:
    """Reduce [C, h, w] to their mean, the strongest channel (`max`) or the strongest ones (`topk`).

    Reducing before the maps are enlarged gives the same and spares gigabytes. What is strongest is judged on the
    photograph alone, without the letterbox beside it.
    """
    if params.reduction == "mean":
        return LayerMaps(title, values.mean(0, keepdim=True), [])
    count = 1 if params.reduction == "max" else math.prod(params.topk)
    channels = strongest_channels(crop_cells(values, letterbox), count)
    return LayerMaps(title, values[channels], channels.tolist())


def map_image(
    network: nn.Module,
    spec: NetworkSpec,
    image_dir: Path,
    entry: dict,
    found: list[dict],
    params: FeatureMapsParams,
    device: torch.device,
) -> ImageMaps:
    """Run the network on one image of a COCO data set; `found` are its detections in COCO's results format."""
    image = read_image(image_dir / entry["file_name"])
    letterbox = letterbox_of(image.shape[2], image.shape[1], spec.input_wh)
    canvas = letterbox_image(image, spec.input_wh, spec.fill_rgb)
    outputs = layer_outputs(network, prepare_images(canvas[None], spec, device), params.layers)
    layers = [[reduce_channels(*layer, params, letterbox) for layer in group] for group in outputs]
    boxes_xyxy = boxes_xyxy_of([result for result in found if result["score"] >= params.score_threshold])
    boxes_xyxy *= torch.tensor(letterbox.scale_xy * 2)
    photograph = canvas[:, : letterbox.height, : letterbox.width].clone()
    return ImageMaps(entry["file_name"], photograph, letterbox, boxes_xyxy, layers)


def value_ranges(shown: list[ImageMaps]) -> dict[str, tuple[float, float]]:
    """Find each layer's smallest and largest value over all images, by the layer's title."""
    lows, highs = defaultdict(lambda: math.inf), defaultdict(lambda: -math.inf)
    for image in shown:
        for maps in (maps for group in image.layers for maps in group):
            cells = crop_cells(maps.values, image.letterbox)
            lows[maps.title] = min(lows[maps.title], float(cells.min()))
            highs[maps.title] = max(highs[maps.title], float(cells.max()))
    return {title: (lows[title], highs[title]) for title in lows}
