"""The whole augmentation: a random view of one photograph or a mosaic of four, pasted objects, changed colours.

Points and boxes are in px, x to the right, y down, the upper left corner of the upper left pixel at (0, 0): a mirrored
x is `width - x`. All randomness comes from torch's default generator, which the training set seeds for each sample.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from viadet.augmentation.colours import random_distortion
from viadet.augmentation.copy_paste import CutOuts, copy_paste
from viadet.augmentation.objects import Object, Sample, Scene, label_in_sample, visible_box_xyxy
from viadet.augmentation.randomness import uniform
from viadet.images.pixels import blank_canvas, resize
from viadet.images.polygons import polygon_area, polygon_mask
from viadet.project.params import AugmentParams

MOSAIC_CENTRE = (0.3, 0.7)  # where the four views of a mosaic meet, as a share of the input's sides


def augment(
    scenes: Sequence[Scene],
    index: int,
    cut_outs: CutOuts,
    params: AugmentParams,
    input_wh: tuple[int, int],
    fill_rgb: tuple[int, int, int],
) -> Sample:
    """Make a training sample of one scene, in a mosaic with three others; the scenes are left unchanged."""
    width, height = input_wh
    if params.mosaic and uniform(0, 1) < params.mosaic:
        chosen = [scenes[index], *(scenes[int(torch.randint(len(scenes), ()))] for _ in range(3))]
        image, objects = mosaic(chosen, params, input_wh, fill_rgb)
    else:
        image = blank_canvas(input_wh, fill_rgb)
        objects = place_view(image, (0, 0, width, height), scenes[index], params)
    if cut_outs and params.copy_paste:
        objects += copy_paste(image, objects, cut_outs, params)
    boxes = [(visible_box_xyxy(object_), object_) for object_ in objects]
    visible = [(box_xyxy, label_in_sample(object_, box_xyxy)) for box_xyxy, object_ in boxes if box_xyxy is not None]
    if params.colour:
        for change in random_distortion(params.colour):
            change(image)
    if params.channels and uniform(0, 1) < params.channels:
        image = image[torch.randperm(3)]  # an object's colour then tells nothing
    return Sample(
        image,
        torch.tensor([box_xyxy for box_xyxy, _ in visible], dtype=torch.float32).reshape(-1, 4),
        torch.tensor([label for _, label in visible], dtype=torch.int64),
    )


def mosaic(
    scenes: list[Scene], params: AugmentParams, input_wh: tuple[int, int], fill_rgb: tuple[int, int, int]
) -> tuple[torch.Tensor, list[Object]]:
    """Tile random views of four scenes (Bochkovskiy et al. 2020), the first at a random corner."""
    width, height = input_wh
    x, y = (round(uniform(*MOSAIC_CENTRE) * side) for side in input_wh)
    tiles_xyxy = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
    image, objects = blank_canvas(input_wh, fill_rgb), []
    for tile, scene in zip(torch.randperm(4).tolist(), scenes, strict=True):
        objects += place_view(image, tiles_xyxy[tile], scene, params)
    return image, objects


def place_view(
    image: torch.Tensor, tile_xyxy: tuple[int, int, int, int], scene: Scene, params: AugmentParams
) -> list[Object]:
    """Place a random view of a scene into a tile of an image, which stays visible beside the photograph."""
    x0, y0, x1, y1 = tile_xyxy
    polygons = random_view(scene, params, image[:, y0:y1, x0:x1])
    objects = []
    for polygon, label in zip(polygons, scene.labels, strict=True):
        points = polygon.numpy()
        (left, top), mask = object_mask(points, x1 - x0, y1 - y0)
        in_image = points + np.array([x0, y0], np.float32)
        bounds_xyxy = (*in_image.min(0).tolist(), *in_image.max(0).tolist())
        objects.append(Object(label, (left + x0, top + y0), mask, polygon_area(points), bounds_xyxy))
    return objects


def object_mask(points: np.ndarray, width: int, height: int) -> tuple[tuple[int, int], np.ndarray]:
    """Mark the pixels inside a polygon, [points, 2]; of one thinner than a pixel, those that it touches.

    Such an object has no pixel's centre inside, and changes the picture all the same.

    Returns:
        x and y of the mask's upper left corner in a canvas of width and height, and the mask, bool [h, w]: no larger
        than the part of the canvas that the polygon's points lie around.
    """
    left, top = np.floor(points.min(0)).astype(int).clip(0, (width, height)).tolist()
    right, bottom = np.ceil(points.max(0)).astype(int).clip((left, top), (width, height)).tolist()
    if left == right or top == bottom:  # outside
        return (left, top), np.zeros((bottom - top, right - left), bool)
    mask = polygon_mask(points - (left, top), right - left, bottom - top)
    if not mask.any() and (points.max(0) - points.min(0)).min() <= 1:
        mask[:] = True
    return (left, top), mask


class Span(NamedTuple):
    """The part of a photograph's side that a view needs, and where it lies in the scaled photograph, all whole px."""

    start: int  # in the photograph
    stop: int
    scaled_start: int  # in the scaled one
    scaled_stop: int


def visible_span(side: int, scaled_side: int, offset: int, room: int) -> Span:
    """Choose what to scale of a photograph's side for a canvas, and some pixels more, which antialiasing mixes in.

    Args:
        side: of the photograph, px.
        scaled_side: of the whole photograph when scaled, px.
        offset: of the canvas within the scaled photograph, px; may be negative.
        room: side of the canvas, px.
    """
    scale = scaled_side / side
    reach = 2 * max(1, 1 / scale)
    start = max(0, math.floor(offset / scale - reach))
    stop = min(side, math.ceil((offset + room) / scale + reach))
    scaled_start, scaled_stop = round(start * scale), round(stop * scale)
    # A photograph that is reduced has several pixels for one of these: the nearest.
    return Span(round(scaled_start / scale), round(scaled_stop / scale), scaled_start, scaled_stop)


def random_view(scene: Scene, params: AugmentParams, canvas: torch.Tensor) -> list[torch.Tensor]:
    """Scale the photograph at random (large scale jitter, Ghiasi et al. 2021), move it within a canvas, mirror it.

    What lies outside of the canvas, uint8 [3, H, W], is cut off the image before it is scaled, which moves what
    remains by half a px at most, together with the polygons.

    Returns:
        The polygons in the canvas, into which the photograph is written; they are not cut off.
    """
    _, height, width = scene.image.shape
    canvas_wh = (canvas.shape[2], canvas.shape[1])
    scale = uniform(*params.scale) * min(canvas_wh[0] / width, canvas_wh[1] / height)
    size_wh = [max(1, round(width * scale)), max(1, round(height * scale))]
    # Offset of the canvas within the scaled photograph: negative where the photograph is the smaller one.
    offset_xy = [
        round(uniform(min(0, side - room), max(0, side - room))) for side, room in zip(size_wh, canvas_wh, strict=True)
    ]
    mirrored = uniform(0, 1) < params.flip
    columns, rows = map(visible_span, (width, height), size_wh, offset_xy, canvas_wh)
    scaled_wh = (columns.scaled_stop - columns.scaled_start, rows.scaled_stop - rows.scaled_start)
    scaled = resize(scene.image[:, rows.start : rows.stop, columns.start : columns.stop], scaled_wh)
    left, top = offset_xy[0] - columns.scaled_start, offset_xy[1] - rows.scaled_start
    visible = scaled[:, max(0, top) : top + canvas_wh[1], max(0, left) : left + canvas_wh[0]]
    scale_xy = torch.tensor([scaled_wh[0] / (columns.stop - columns.start), scaled_wh[1] / (rows.stop - rows.start)])
    start_xy, corner_xy = torch.tensor([columns.start, rows.start]), torch.tensor([left, top])
    polygons = [(polygon - start_xy) * scale_xy - corner_xy for polygon in scene.polygons]
    x, y = max(0, -left), max(0, -top)
    if mirrored:
        visible, x = visible.flip(2), canvas_wh[0] - x - visible.shape[2]
        polygons = [torch.stack([canvas_wh[0] - polygon[:, 0], polygon[:, 1]], 1) for polygon in polygons]
    canvas[:, y : y + visible.shape[1], x : x + visible.shape[2]] = visible
    return polygons
