"""Show what any of the network's layers make of the validation images.

The colours of a layer span the same values in all pictures, so that images can be compared.

Reads   data/model/, data/coco/val.json, data/raw/val/, data/detections.json
Writes  plots/feature_maps/: a picture an image, the photograph beside its maps
Run     dvc repro feature_maps
"""

import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn
from tqdm import tqdm

from stages.detection.cli import StageError, run_stage
from stages.detection.coco import boxes_xyxy_of, by_image
from stages.detection.drawing import (
    DETECTION,
    cell_of,
    draw_boxes,
    greyed,
    new_figure,
    picture_path,
    save_figure,
    show_heat,
    show_image,
)
from stages.detection.files import read_json, replaced_dir
from stages.detection.images import Letterbox, letterbox_image, letterbox_of, read_image
from stages.detection.maps import crop_cells, crop_map, strongest_channels
from stages.detection.network import (
    NetworkSpec,
    keep_freed_memory,
    level_names,
    load_network,
    pick_device,
    prepare_images,
)
from stages.detection.params import FeatureMapsParams, read_recipe

MODEL_DIR = Path("data/model")
COCO_PATH = Path("data/coco/val.json")
IMAGE_DIR = Path("data/raw")
DETECTIONS_PATH = Path("data/detections.json")
PICTURES_DIR = Path("plots/feature_maps")
COLUMNS = 5


class LayerMaps(NamedTuple):
    """Some channels of one layer, or their mean."""

    title: str
    values: torch.Tensor  # float32 [N, h, w], the whole input of the network
    channels: list[int]  # [N], or empty for a mean


class Shown(NamedTuple):
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
        StageError: no layer has that name, or it makes no maps.
    """
    backbone_levels = [f"C{int(math.log2(stride))}" for stride in network.backbone.feature_info.reduction()]
    groups = {"backbone": (network.backbone, backbone_levels), "neck": (network.fpn, level_names(network))}
    group_of = {level: group for group, (_, levels) in groups.items() for level in levels}
    modules = dict(network.named_modules()) | {group: module for group, (module, _) in groups.items()}
    for name in names:
        if not name or (name not in modules and name not in group_of):
            raise StageError(unknown_layer(name, [*groups, *group_of], modules))
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
            raise StageError(f"feature_maps.layers: {name} makes no maps of one image; name a layer below or above it")
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


def look_at(
    network: nn.Module,
    spec: NetworkSpec,
    entry: dict,
    found: list[dict],
    params: FeatureMapsParams,
    device: torch.device,
) -> Shown:
    """Run the network on one image of a COCO data set; `found` are its detections in COCO's results format."""
    image = read_image(IMAGE_DIR / entry["file_name"])
    letterbox = letterbox_of(image.shape[2], image.shape[1], spec.input_wh)
    canvas = letterbox_image(image, spec.input_wh, spec.fill_rgb)
    outputs = layer_outputs(network, prepare_images(canvas[None], spec, device), params.layers)
    layers = [[reduce_channels(*layer, params, letterbox) for layer in group] for group in outputs]
    boxes_xyxy = boxes_xyxy_of([result for result in found if result["score"] >= params.score_threshold])
    boxes_xyxy *= torch.tensor(letterbox.scale_xy * 2)
    photograph = canvas[:, : letterbox.height, : letterbox.width].clone()
    return Shown(entry["file_name"], photograph, letterbox, boxes_xyxy, layers)


def value_ranges(shown: list[Shown]) -> dict[str, tuple[float, float]]:
    """Find each layer's smallest and largest value over all images, by the layer's title."""
    lows, highs = defaultdict(lambda: math.inf), defaultdict(lambda: -math.inf)
    for image in shown:
        for maps in (maps for group in image.layers for maps in group):
            cells = crop_cells(maps.values, image.letterbox)
            lows[maps.title] = min(lows[maps.title], float(cells.min()))
            highs[maps.title] = max(highs[maps.title], float(cells.max()))
    return {title: (lows[title], highs[title]) for title in lows}


def draw(image: Shown, ranges: dict[str, tuple[float, float]], params: FeatureMapsParams) -> Figure:
    """Draw the photograph and its maps; with `topk` a block of channels a layer."""
    grey = greyed(image.photograph)

    def fill(ax: Axes, title: str, maps: LayerMaps, index: int) -> None:
        show_image(ax, grey, title)
        heat = crop_map(maps.values[index], image.letterbox).numpy()
        show_heat(ax, heat, ranges[maps.title], params.overlay, params.colour_bar)
        draw_boxes(ax, image.boxes_xyxy, DETECTION, line_width=0.8)

    def fill_photograph(ax: Axes, title: str) -> None:
        show_image(ax, image.photograph, title)
        draw_boxes(ax, image.boxes_xyxy, DETECTION)

    def stride(maps: LayerMaps) -> str:
        return f"{maps.title}, stride {image.letterbox.input_wh[0] / maps.values.shape[-1]:.4g}"

    if params.reduction == "topk":
        layers = [maps for group in image.layers for maps in group]
        rows, columns = params.topk
        figure, axes = new_figure(1 + columns, rows * len(layers), cell_of(image.photograph, 2.4))
        for block, maps in zip(axes.reshape(len(layers), rows, 1 + columns), layers, strict=True):
            fill_photograph(block[0, 0], stride(maps))
            for index, (ax, channel) in enumerate(zip(block[:, 1:].flat, maps.channels, strict=False)):
                fill(ax, f"channel {channel}", maps, index)
        return figure

    # One cell a map; a group begins a new row where the last row has not enough room for all of it.
    places, cell = [], 1
    for group in image.layers:
        if cell % COLUMNS + min(len(group), COLUMNS) > COLUMNS:
            cell += -cell % COLUMNS
        places += range(cell, cell + len(group))
        cell += len(group)
    layers = [maps for group in image.layers for maps in group]
    figure, axes = new_figure(min(cell, COLUMNS), math.ceil(cell / COLUMNS), cell_of(image.photograph, 3.6))
    fill_photograph(axes[0], f"photograph, {len(image.boxes_xyxy)} detections")
    for place, maps in zip(places, layers, strict=True):
        channel = f", channel {maps.channels[0]}" if maps.channels else ""
        fill(axes[place], stride(maps) + channel, maps, 0)
    return figure


def main() -> None:
    """Draw the first validation images."""
    keep_freed_memory()
    recipe = read_recipe()
    params = recipe.feature_maps
    device = pick_device(recipe.train.device, recipe.train.deterministic)
    network, spec = load_network(MODEL_DIR, device, recipe.model.test_wh)
    images = read_json(COCO_PATH)["images"]
    found = by_image(read_json(DETECTIONS_PATH))
    shown = [
        look_at(network, spec, entry, found[entry["id"]], params, device)
        for entry in tqdm(images[: params.max_images], desc="feature maps", unit="img")
    ]
    ranges = value_ranges(shown)
    with replaced_dir(PICTURES_DIR) as folder:
        for image in tqdm(shown, desc="pictures", unit="img"):
            save_figure(draw(image, ranges, params), picture_path(folder, image.file_name))
    print(f"{len(shown)} of {len(images)} validation images drawn")


if __name__ == "__main__":
    run_stage(main, __doc__)
