"""Objects cut out along their polygons and pasted into other photographs."""

import math
from bisect import bisect
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import pad

from viadet.augmentation.colours import Change, random_jitter
from viadet.augmentation.objects import Object, Outlines, Scene, hide
from viadet.augmentation.randomness import uniform
from viadet.images.pixels import resize
from viadet.images.polygons import polygon_mask
from viadet.project.params import AugmentParams

MIN_CUT_OUT_PX = 12  # shorter side; smaller objects and slivers are not worth copying
MAX_ENLARGED = 1.5  # a pasted object is at most this much larger than in its photograph
PASTED_SIDE = (0.05, 0.6)  # longer side of a pasted object, as a share of the input's shorter side
PASTED_TURN_DEG = 20.0
SOFT_EDGE = (0.522, 0.239)  # weights of a pixel and of each beside it: a Gaussian of 0.8 px
ANY_HUE, SIMILAR_HUE = 0.5, 0.05  # change of a pasted object's hue, in turns of the colour circle
CLUSTER_SCALE = (0.7, 1.4)  # size of an object in a cluster against that of the one before
CLUSTER_STEP = (0.4, 1.0)  # how far their centres are apart, as a share of both radii: they overlap


class CutOut(NamedTuple):
    """An object cut out along its polygon."""

    image: torch.Tensor  # uint8 [3, h, w], with what surrounds the object
    alpha: torch.Tensor  # uint8 [h, w]: 0 there, 255 inside the object
    label: int


class CutOuts(Sequence):
    """The objects of all scenes that can be pasted, each cut out when it is asked for.

    Those at a photograph's edge are not used, as part of them is missing.
    """

    def __init__(self, scenes: Sequence[Scene], outlines: Iterable[Outlines]) -> None:
        """Choose the objects by the scenes' outlines, for which no photograph need be decoded."""
        self.scenes, self.places = scenes, []  # an object's place: its scene and its polygon there
        numbers: dict[int, list[int]] = {}  # of the objects, by label
        for number, ((width, height), polygons, labels) in enumerate(outlines):
            for index, (polygon, label) in enumerate(zip(polygons, labels, strict=True)):
                left, top, right, bottom = _surroundings(polygon)
                inside = left >= 0 and top >= 0 and right <= width and bottom <= height
                if inside and min(right - left, bottom - top) >= MIN_CUT_OUT_PX:
                    numbers.setdefault(label, []).append(len(self.places))
                    self.places.append((number, index))
        self.classes = list(numbers.values())  # the objects' numbers, by class

    def __len__(self) -> int:
        """Count the objects."""
        return len(self.places)

    def __getitem__(self, number: int) -> CutOut:
        """Cut an object out along its polygon."""
        scene_number, index = self.places[number]
        scene = self.scenes[scene_number]
        polygon = scene.polygons[index]
        left, top, right, bottom = _surroundings(polygon)
        points = (polygon - torch.tensor([left, top])).numpy()
        mask = torch.from_numpy(polygon_mask(points, right - left, bottom - top))
        image = scene.image[:, top:bottom, left:right]
        return CutOut(image, 255 * mask.to(torch.uint8), scene.labels[index])

    def random_number(self) -> int:
        """Choose an object by the inverse square root of how many its class has, so that rare classes occur more often.

        A class of n objects then has a share of sqrt(n) in what is pasted: square-root sampling (Kang et al. 2020),
        half-way between the objects as they come and all classes alike, where the few objects of a rare class would
        be pasted again and again. Of a single class, one number is drawn, and each object is as likely.
        """
        members = self.classes[0]
        if len(self.classes) > 1:
            bounds = list(accumulate(math.sqrt(len(numbers)) for numbers in self.classes))
            members = self.classes[bisect(bounds, uniform(0, bounds[-1]))]
        return members[int(torch.randint(len(members), ()))]


def copy_paste(image: torch.Tensor, objects: list[Object], cut_outs: CutOuts, params: AugmentParams) -> list[Object]:
    """Paste a random number of cut-outs over an image, some of them in clusters; objects underneath lose pixels.

    After Dwibedi et al. 2017 and Ghiasi et al. 2021.

    Returns:
        The pasted objects; the image and the masks of the others are changed in place.
    """
    _, height, width = image.shape
    shorter_side, before, pasted = min(height, width), None, []
    hue = ANY_HUE if params.channels else SIMILAR_HUE  # where channels are not permuted, colours may tell the category
    for _ in range(int(torch.randint(params.copy_paste + 1, ()))):
        chosen = cut_outs.random_number()
        if before is not None and uniform(0, 1) < params.cluster:
            centre_xy, side = before
            side *= uniform(*CLUSTER_SCALE)
            angle, step = uniform(0, 2 * math.pi), uniform(*CLUSTER_STEP) * (before[1] + side) / 2
            centre_xy = (centre_xy[0] + step * math.cos(angle), centre_xy[1] + step * math.sin(angle))
        else:
            centre_xy = (uniform(0, width), uniform(0, height))
            side = math.exp(uniform(*(math.log(share * shorter_side) for share in PASTED_SIDE)))
        cut_out = random_cut_out(cut_outs[chosen], side)
        before = centre_xy, float(max(cut_out.alpha.shape))
        above = paste(image, cut_out, centre_xy, random_jitter(hue))
        for below in (*objects, *pasted):
            hide(below, above)
        pasted.append(above)
    return pasted


def random_cut_out(cut_out: CutOut, side: float) -> CutOut:
    """Mirror and turn a cut-out, resize its longer side to `side` px, soften its edge.

    An object is not enlarged beyond MAX_ENLARGED.
    """
    height, width = cut_out.alpha.shape
    mirrored, angle = uniform(0, 1) < 0.5, uniform(-PASTED_TURN_DEG, PASTED_TURN_DEG)
    cos, sin = math.cos(math.radians(angle)), abs(math.sin(math.radians(angle)))
    scale = min(side / max(width * cos + height * sin, width * sin + height * cos), MAX_ENLARGED)
    planes = [cut_out.image, cut_out.alpha[None]]
    if scale < 1:  # before it is turned, for which there is less to do then; bicubic, as turning blurs enough
        small_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
        planes = [resize(plane, small_wh, "bicubic") for plane in planes]
    rgba = torch.cat(planes)
    rgba = turn(rgba.flip(2) if mirrored else rgba, angle)
    if scale > 1:
        rgba = resize(rgba, (round(rgba.shape[2] * scale), round(rgba.shape[1] * scale)))
    # A hard edge would be a sign that no photograph has (Dwibedi et al. 2017).
    alpha = soften(rgba[3]) if min(rgba.shape[1:]) > 3 else rgba[3]
    return CutOut(rgba[:3], alpha, cut_out.label)


def turn(rgba: torch.Tensor, angle: float) -> torch.Tensor:
    """Turn a cut-out, uint8 [4, h, w], by an angle in degrees; the result has room for all of it."""
    # PIL gives the same bytes on any processor; RGBX, as of RGBA it would multiply the colours by alpha.
    picture = Image.fromarray(rgba.permute(1, 2, 0).contiguous().numpy(), "RGBX")
    turned = picture.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    return torch.from_numpy(np.array(turned)).permute(2, 0, 1)


def soften(alpha: torch.Tensor) -> torch.Tensor:
    """Blur a plane, uint8 [h, w], a little."""
    padded = pad(alpha[None].float(), (1, 1, 1, 1), mode="reflect")[0]
    inner, outer = SOFT_EDGE
    rows = inner * padded[1:-1] + outer * (padded[:-2] + padded[2:])
    return (inner * rows[:, 1:-1] + outer * (rows[:, :-2] + rows[:, 2:])).round().to(torch.uint8)


def paste(
    image: torch.Tensor, cut_out: CutOut, centre_xy: tuple[float, float], changes: Sequence[Change] = ()
) -> Object:
    """Paste a cut-out over an image in place, its centre at `centre_xy`; parts beyond the image are cut off.

    Args:
        image: uint8 [3, H, W].
        cut_out: to be pasted.
        centre_xy: px.
        changes: of the cut-out's colours.
    """
    _, height, width = image.shape
    h, w = cut_out.alpha.shape
    area = float(cut_out.alpha.gt(127).count_nonzero())
    left, top = round(centre_xy[0] - w / 2), round(centre_xy[1] - h / 2)
    x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + w), min(height, top + h)
    bounds_xyxy = (0.0, 0.0, float(width), float(height))
    if y0 >= y1 or x0 >= x1:  # in a cluster at the edge
        return Object(cut_out.label, (0, 0), np.zeros((0, 0), bool), area, bounds_xyxy)
    rows, columns = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    alpha = cut_out.alpha[rows, columns]
    over = cut_out.image[:, rows, columns].clone(memory_format=torch.contiguous_format)
    for change in changes:
        change(over)
    under, share = image[:, y0:y1, x0:x1], alpha / 255
    under.copy_((over * share + under * (1 - share)).round())
    return Object(cut_out.label, (x0, y0), (alpha > 127).numpy(), area, bounds_xyxy)


def _surroundings(polygon: torch.Tensor) -> tuple[int, int, int, int]:
    left, top = (int(value) - 1 for value in polygon.amin(0))
    right, bottom = (math.ceil(value) + 1 for value in polygon.amax(0).tolist())
    return left, top, right, bottom
