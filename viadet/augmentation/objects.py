"""Photographs and samples with their ground truth, and the visible parts of objects."""

from typing import NamedTuple

import numpy as np
import torch

MIN_VISIBLE_SHARE = 0.2  # of an object's area; with less visible there is too little to learn from
MIN_SIDE_PX = 3.0
IGNORED = -2  # label of what is left of such an object: neither an object to learn nor background


class Scene(NamedTuple):
    """A photograph with its ground truth."""

    image: torch.Tensor  # uint8 [3, H, W]
    polygons: list[torch.Tensor]  # float32 [points, 2], x and y
    labels: list[int]  # from 1


class Outlines(NamedTuple):
    """The size of a photograph and its objects, which are known before it is decoded."""

    size_wh: tuple[int, int]
    polygons: list[torch.Tensor]  # float32 [points, 2], x and y
    labels: list[int]  # from 1


class Sample(NamedTuple):
    """One network input with its ground truth."""

    image: torch.Tensor  # uint8 [3, H, W]
    boxes_xyxy: torch.Tensor  # float32 [M, 4]
    labels: torch.Tensor  # int64 [M], from 1, or IGNORED


class Object(NamedTuple):
    """The visible part of an object in a sample."""

    label: int
    corner_xy: tuple[int, int]  # upper left corner of the mask
    mask: np.ndarray  # its visible pixels, bool [h, w], those around it: a sample may have hundreds of objects
    area: float  # px of the whole object, its hidden parts included
    bounds_xyxy: tuple[float, float, float, float]  # finer than whole pixels; its box never exceeds them


def hide(below: Object, above: Object) -> None:
    """Take the pixels under another object from those that are visible of an object, in place."""
    (left, top), (other_left, other_top) = below.corner_xy, above.corner_xy
    (height, width), (other_height, other_width) = below.mask.shape, above.mask.shape
    x0, y0 = max(left, other_left), max(top, other_top)
    x1, y1 = min(left + width, other_left + other_width), min(top + height, other_top + other_height)
    if x0 < x1 and y0 < y1:
        covering = above.mask[y0 - other_top : y1 - other_top, x0 - other_left : x1 - other_left]
        below.mask[y0 - top : y1 - top, x0 - left : x1 - left] &= ~covering


def visible_box_xyxy(object_: Object) -> tuple[float, float, float, float] | None:
    """Compute the box around the visible part of an object, or None if nothing is visible."""
    if not object_.mask.any():
        return None
    columns, rows = object_.mask.any(0).nonzero()[0].tolist(), object_.mask.any(1).nonzero()[0].tolist()
    (left, top), bounds_xyxy = object_.corner_xy, object_.bounds_xyxy
    x0, y0 = max(float(left + columns[0]), bounds_xyxy[0]), max(float(top + rows[0]), bounds_xyxy[1])
    x1, y1 = min(float(left + columns[-1] + 1), bounds_xyxy[2]), min(float(top + rows[-1] + 1), bounds_xyxy[3])
    return x0, y0, x1, y1


def label_in_sample(object_: Object, box_xyxy: tuple[float, float, float, float]) -> int:
    """Give the label of an object with this box, or IGNORED if it is too small or too little of it is visible."""
    x0, y0, x1, y1 = box_xyxy
    is_small = min(x1 - x0, y1 - y0) < MIN_SIDE_PX
    is_hidden = np.count_nonzero(object_.mask) < MIN_VISIBLE_SHARE * object_.area
    return IGNORED if is_small or is_hidden else object_.label
