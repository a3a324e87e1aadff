"""Feature maps beside their photograph."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viadet.explanation.layers import ImageMaps, LayerMaps
from viadet.explanation.maps import crop_map
from viadet.pictures.drawing import DETECTION, cell_of, draw_boxes, greyed, new_figure, show_heat, show_image
from viadet.project.params import FeatureMapsParams

COLUMNS = 5


def draw_feature_maps(image: ImageMaps, ranges: dict[str, tuple[float, float]], params: FeatureMapsParams) -> Figure:
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
