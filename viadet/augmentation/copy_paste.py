"""Objects cut out along their polygons and pasted into other photographs."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from viadet.augmentation.objects import Object, Outlines, Scene
from viadet.augmentation.randomness import uniform
from viadet.images.polygons import polygon_mask
from viadet.project.params import AugmentParams

MIN_CUT_OUT_PX = 12  # shorter side; smaller objects and slivers are not worth copying
MAX_ENLARGED = 1.5  # a pasted object is at most this much larger than in its photograph
PASTED_SIDE = (0.05, 0.6)  # longer side of a pasted object, as a share of the input's shorter side
PASTED_TURN_DEG = 20.0
ANY_HUE, SIMILAR_HUE = 0.5, 0.05  # change of a pasted object's hue, in turns of the colour circle
CLUSTER_SCALE = (0.7, 1.4)  # size of an object in a cluster against that of the one before
CLUSTER_STEP = (0.4, 1.0)  # how far their centres are apart, as a share of both radii: they overlap


class CutOut(NamedTuple):
    """An object cut out along its polygon."""

    rgba: torch.Tensor  # uint8 [4, h, w]
    label: int


class CutOuts(Sequence):
    """The objects of all scenes that can be pasted, each cut out when it is asked for.

    Those at a photograph's edge are not used, as part of them is missing.
    """

    def __init__(self, scenes: Sequence[Scene], outlines: Iterable[Outlines]) -> None:
        """Choose the objects by the scenes' outlines, for which no photograph need be decoded."""
        self.scenes, self.places = scenes, []  # an object's place: its scene and its polygon there
        for number, ((width, height), polygons) in enumerate(outlines):
            for index, polygon in enumerate(polygons):
                left, top, right, bottom = _surroundings(polygon)
                inside = left >= 0 and top >= 0 and right <= width and bottom <= height
                if inside and min(right - left, bottom - top) >= MIN_CUT_OUT_PX:
                    self.places.append((number, index))

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
        alpha = mask.to(torch.uint8) * 255
        return CutOut(torch.cat([scene.image[:, top:bottom, left:right], alpha[None]]), scene.labels[index])


def copy_paste(
    image: torch.Tensor, objects: list[Object], cut_outs: Sequence[CutOut], params: AugmentParams
) -> tuple[torch.Tensor, list[Object]]:
    """Paste a random number of cut-outs over an image, some of them in clusters; objects underneath lose pixels.

    After Dwibedi et al. 2017 and Ghiasi et al. 2021.
    """
    _, height, width = image.shape
    shorter_side, before = min(height, width), None
    hue = ANY_HUE if params.channels else SIMILAR_HUE  # where channels are not permuted, colours may tell the category
    for _ in range(int(torch.randint(params.copy_paste + 1, ()))):
        cut_out = cut_outs[int(torch.randint(len(cut_outs), ()))]
        if before is not None and uniform(0, 1) < params.cluster:
            centre_xy, side = before
            side *= uniform(*CLUSTER_SCALE)
            angle, step = uniform(0, 2 * math.pi), uniform(*CLUSTER_STEP) * (before[1] + side) / 2
            centre_xy = (centre_xy[0] + step * math.cos(angle), centre_xy[1] + step * math.sin(angle))
        else:
            centre_xy = (uniform(0, width), uniform(0, height))
            side = math.exp(uniform(*(math.log(share * shorter_side) for share in PASTED_SIDE)))
        rgba = random_cut_out(cut_out.rgba, side, hue)
        before = centre_xy, float(max(rgba.shape[1:]))
        image, mask, area = paste(image, rgba, centre_xy)
        objects = [below._replace(mask=below.mask & ~mask) for below in objects]
        objects.append(Object(cut_out.label, mask, area, (0.0, 0.0, float(width), float(height))))
    return image, objects


def random_cut_out(rgba: torch.Tensor, side: float, hue: float) -> torch.Tensor:
    """Mirror, turn and recolour a cut-out, uint8 [4, h, w], resize its longer side to `side` px, soften its edge.

    An object is not enlarged beyond MAX_ENLARGED; its hue changes by at most `hue` turns of the colour circle.
    """
    if uniform(0, 1) < 0.5:
        rgba = rgba.flip(2)
    rgba = F.rotate(rgba, uniform(-PASTED_TURN_DEG, PASTED_TURN_DEG), F.InterpolationMode.BILINEAR, expand=True)
    scale = min(side / max(rgba.shape[1:]), MAX_ENLARGED)
    rgba = F.resize(rgba, [max(2, round(length * scale)) for length in rgba.shape[1:]], antialias=True)
    rgb = v2.ColorJitter(brightness=0.3, saturation=0.3, hue=hue)(rgba[:3])
    # A hard edge would be a sign that no photograph has (Dwibedi et al. 2017).
    alpha = F.gaussian_blur(rgba[3:], [3, 3]) if min(rgba.shape[1:]) > 3 else rgba[3:]
    return torch.cat([rgb, alpha])


def paste(
    image: torch.Tensor, rgba: torch.Tensor, centre_xy: tuple[float, float]
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Paste a cut-out over an image, its centre at `centre_xy`; parts beyond the image are cut off.

    Returns:
        The new image, the pasted object's pixels (bool [H, W]) and its whole area in px, the part outside included.
    """
    _, height, width = image.shape
    _, h, w = rgba.shape
    mask = torch.zeros(height, width, dtype=torch.bool)
    area = float((rgba[3] > 127).sum())
    left, top = round(centre_xy[0] - w / 2), round(centre_xy[1] - h / 2)
    y0, x0, y1, x1 = max(0, top), max(0, left), min(height, top + h), min(width, left + w)
    if y0 >= y1 or x0 >= x1:  # in a cluster at the edge
        return image, mask, area
    visible = rgba[:, y0 - top : y1 - top, x0 - left : x1 - left].float()
    alpha = visible[3:] / 255
    pasted = image.clone()
    under = image[:, y0:y1, x0:x1].float()
    pasted[:, y0:y1, x0:x1] = (visible[:3] * alpha + under * (1 - alpha)).round().to(torch.uint8)
    mask[y0:y1, x0:x1] = alpha[0] > 0.5
    return pasted, mask, area


def _surroundings(polygon: torch.Tensor) -> tuple[int, int, int, int]:
    left, top = (int(value) - 1 for value in polygon.amin(0))
    right, bottom = (math.ceil(value) + 1 for value in polygon.amax(0).tolist())
    return left, top, right, bottom
