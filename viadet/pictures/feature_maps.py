"""Pictures of feature maps: the photograph beside the maps of its layers."""

import math

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viadet.explanation.feature_maps import ImageMaps, LayerMaps
from viadet.explanation.maps import enlarge_to_photograph
from viadet.pictures.classes import class_colours, class_names
from viadet.pictures.drawing import DETECTION, cell_wh_inches, draw_boxes, grey_image, new_figure, show_heat, show_image
from viadet.project.params import FeatureMapsParams

COLUMNS = 5
ValueRanges = dict[str, tuple[float, float]]  # what the colours of a layer span, by its title


def draw_feature_maps(
    image: ImageMaps, ranges: ValueRanges, params: FeatureMapsParams, names: dict[int, str]
) -> Figure:
    """Draw the photograph and its maps: a cell a layer, or with `topk` a block of channels a layer.

    Over the photograph stand the names of the detections' categories if there are several.
    """
    return (_draw_channels if params.reduction == "topk" else _draw_layers)(image, ranges, params, names)


def _draw_channels(image: ImageMaps, ranges: ValueRanges, params: FeatureMapsParams, names: dict[int, str]) -> Figure:
    """Draw a block for each layer: the photograph, and beside it `topk` rows and columns of channels."""
    layers = [layer for group in image.layer_groups for layer in group]
    rows, columns = params.topk
    cell_wh = cell_wh_inches(image.input_image.photograph, 2.4)
    figure, axes = new_figure(1 + columns, rows * len(layers), cell_wh)
    for block, layer in zip(axes.reshape(len(layers), rows, 1 + columns), layers, strict=True):
        _show_photograph(block[0, 0], image, _layer_title(image, layer), names)
        for ax, channel, channel_map in zip(block[:, 1:].flat, layer.channels, layer.maps, strict=False):
            _show_map(ax, image, f"channel {channel}", channel_map, ranges[layer.title], params, names)
    return figure


def _draw_layers(image: ImageMaps, ranges: ValueRanges, params: FeatureMapsParams, names: dict[int, str]) -> Figure:
    """Draw a cell for each layer after that of the photograph."""
    layers = [layer for group in image.layer_groups for layer in group]
    places, cell_count = _places([len(group) for group in image.layer_groups])
    cell_wh = cell_wh_inches(image.input_image.photograph, 3.6)
    figure, axes = new_figure(min(cell_count, COLUMNS), math.ceil(cell_count / COLUMNS), cell_wh)
    _show_photograph(axes[0], image, f"photograph, {len(image.boxes_xyxy)} detections", names)
    for place, layer in zip(places, layers, strict=True):
        title = _layer_title(image, layer) + (f", channel {layer.channels[0]}" if layer.channels else "")
        _show_map(axes[place], image, title, layer.maps[0], ranges[layer.title], params, names)
    return figure


def _places(group_sizes: list[int]) -> tuple[list[int], int]:
    """Place groups of layers in the cells after the first; a group that does not fit into a row begins a new one.

    Returns:
        The cell of each layer, and how many cells there are.
    """
    places, next_cell = [], 1
    for size in group_sizes:
        if next_cell % COLUMNS + min(size, COLUMNS) > COLUMNS:
            next_cell += -next_cell % COLUMNS
        places += range(next_cell, next_cell + size)
        next_cell += size
    return places, next_cell


def _layer_title(image: ImageMaps, layer: LayerMaps) -> str:
    return f"{layer.title}, stride {image.input_image.letterbox.input_wh[0] / layer.maps.shape[-1]:.4g}"


def _show_photograph(ax: Axes, image: ImageMaps, title: str, names: dict[int, str]) -> None:
    show_image(ax, image.input_image.photograph, title)
    colours = class_colours(image.labels, names, DETECTION)
    draw_boxes(ax, image.boxes_xyxy, colours, class_names(image.labels, names))


def _show_map(
    ax: Axes,
    image: ImageMaps,
    title: str,
    coarse_map: torch.Tensor,
    low_high: tuple[float, float],
    params: FeatureMapsParams,
    names: dict[int, str],
) -> None:
    """Show a map over the grey photograph, and thin detections, told apart by colour only."""
    show_image(ax, grey_image(image.input_image.photograph), title)
    heat = enlarge_to_photograph(coarse_map, image.input_image.letterbox)
    show_heat(ax, heat, low_high, params.overlay, params.colour_bar)
    draw_boxes(ax, image.boxes_xyxy, class_colours(image.labels, names, DETECTION), line_width=0.8)
