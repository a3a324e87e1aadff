"""What a training image goes through: a random view of the photograph, pasted objects, changed colours.

Points and boxes are in px, x to the right, y down, the upper left corner of the upper left pixel at (0, 0): a mirrored
x is `width - x`. All randomness comes from torch's default generator, which the data set seeds for each image.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from stages.detection.images import blank_canvas, polygon_mask
from stages.detection.params import AugmentParams

MIN_VISIBLE_SHARE = 0.2  # of an object's area; with less of it in sight it is no ground truth any more
MIN_SIDE_PX = 3.0
MIN_CUT_OUT_PX = 12  # shorter side; smaller objects and slivers tell too little to be worth copying
MAX_ENLARGED = 1.5  # a pasted object at most so much larger than it was photographed
PASTED_SIDE = (0.05, 0.6)  # longer side of a pasted object, as a share of the input's
PASTED_TURN_DEG = 20.0


class Scene(NamedTuple):
    """A photograph with its ground truth."""

    image: torch.Tensor  # uint8 [3, H, W]
    polygons: list[torch.Tensor]  # float32 [points, 2], x and y
    labels: list[int]  # from 1


class CutOut(NamedTuple):
    """An object cut out along its polygon."""

    rgba: torch.Tensor  # uint8 [4, h, w]
    label: int


class Sample(NamedTuple):
    """One network input with its ground truth."""

    image: torch.Tensor  # uint8 [3, image_size, image_size]
    boxes_xyxy: torch.Tensor  # float32 [M, 4]
    labels: torch.Tensor  # int64 [M], from 1


def augment(
    scene: Scene,
    cut_outs: Sequence[CutOut],
    params: AugmentParams,
    image_size: int,
    fill_rgb: tuple[int, int, int],
) -> Sample:
    """Make one training sample; the scene is left unchanged."""
    view = random_view(scene, params, image_size, fill_rgb)
    masks = [polygon_mask(polygon, image_size, image_size) for polygon in view.polygons]
    areas = [polygon_area(polygon) for polygon in view.polygons]
    bounds = [(*polygon.amin(0).tolist(), *polygon.amax(0).tolist()) for polygon in view.polygons]
    image, labels = view.image, list(view.labels)
    if cut_outs and params.copy_paste:
        for _ in range(int(torch.randint(params.copy_paste + 1, ()))):
            cut_out = cut_outs[int(torch.randint(len(cut_outs), ()))]
            image, mask, area = paste(image, random_cut_out(cut_out.rgba, image_size))
            masks = [below & ~mask for below in masks] + [mask]
            areas.append(area)
            bounds.append((0.0, 0.0, float(image_size), float(image_size)))
            labels.append(cut_out.label)
    visible = [visible_box_xyxy(*object_) for object_ in zip(masks, areas, bounds, strict=True)]
    kept = [index for index, box_xyxy in enumerate(visible) if box_xyxy is not None]
    return Sample(
        change_colours(image, params.colour),
        torch.tensor([visible[index] for index in kept], dtype=torch.float32).reshape(-1, 4),
        torch.tensor([labels[index] for index in kept], dtype=torch.int64),
    )


def random_view(scene: Scene, params: AugmentParams, image_size: int, fill_rgb: tuple[int, int, int]) -> Scene:
    """Scale the photograph at random (large scale jitter, Ghiasi et al. 2021), move it within the input, mirror it.

    What lies outside of the input is cut off the image, not off the polygons.
    """
    _, height, width = scene.image.shape
    scale = _uniform(*params.scale) * image_size / max(width, height)
    size_wh = [max(1, round(width * scale)), max(1, round(height * scale))]
    resized = F.resize(scene.image, size_wh[::-1], antialias=True)
    # Offset of the input within the resized photograph: negative where the photograph is the smaller one.
    left, top = (round(_uniform(min(0, side - image_size), max(0, side - image_size))) for side in size_wh)
    canvas = blank_canvas(image_size, fill_rgb)
    seen = resized[:, max(0, top) : top + image_size, max(0, left) : left + image_size]
    y, x = max(0, -top), max(0, -left)
    canvas[:, y : y + seen.shape[1], x : x + seen.shape[2]] = seen
    scale_xy = torch.tensor([size_wh[0] / width, size_wh[1] / height])
    polygons = [polygon * scale_xy - torch.tensor([left, top]) for polygon in scene.polygons]
    if _uniform(0, 1) < params.flip:
        canvas = canvas.flip(2)
        polygons = [torch.stack([image_size - polygon[:, 0], polygon[:, 1]], 1) for polygon in polygons]
    return Scene(canvas, polygons, scene.labels)


class CutOuts(Sequence):
    """The objects of all scenes that can be pasted, each cut out when it is asked for.

    Those at a photograph's edge are left, as part of them is missing.
    """

    def __init__(self, scenes: list[Scene]) -> None:
        """Choose the objects."""
        self.places = []
        for scene in scenes:
            _, height, width = scene.image.shape
            for index, polygon in enumerate(scene.polygons):
                left, top, right, bottom = _surroundings(polygon)
                inside = left >= 0 and top >= 0 and right <= width and bottom <= height
                if inside and min(right - left, bottom - top) >= MIN_CUT_OUT_PX:
                    self.places.append((scene, index))

    def __len__(self) -> int:
        """Count the objects."""
        return len(self.places)

    def __getitem__(self, number: int) -> CutOut:
        """Cut an object out along its polygon."""
        scene, index = self.places[number]
        polygon = scene.polygons[index]
        left, top, right, bottom = _surroundings(polygon)
        mask = polygon_mask(polygon - torch.tensor([left, top]), right - left, bottom - top)
        alpha = mask.to(torch.uint8) * 255
        return CutOut(torch.cat([scene.image[:, top:bottom, left:right], alpha[None]]), scene.labels[index])


def random_cut_out(rgba: torch.Tensor, image_size: int) -> torch.Tensor:
    """Mirror, turn, resize and recolour a cut-out, uint8 [4, h, w], and soften its edge."""
    if _uniform(0, 1) < 0.5:
        rgba = rgba.flip(2)
    rgba = F.rotate(rgba, _uniform(-PASTED_TURN_DEG, PASTED_TURN_DEG), F.InterpolationMode.BILINEAR, expand=True)
    longer = max(rgba.shape[1:])
    smallest, largest = PASTED_SIDE[0] * image_size, min(PASTED_SIDE[1] * image_size, MAX_ENLARGED * longer)
    scale = math.exp(_uniform(math.log(smallest), math.log(max(smallest, largest)))) / longer
    rgba = F.resize(rgba, [max(2, round(side * scale)) for side in rgba.shape[1:]], antialias=True)
    rgb = v2.ColorJitter(brightness=0.3, saturation=0.3, hue=0.5)(rgba[:3])
    # A hard edge would be a sign that no photograph has (Dwibedi et al. 2017).
    alpha = F.gaussian_blur(rgba[3:], [3, 3]) if min(rgba.shape[1:]) > 3 else rgba[3:]
    return torch.cat([rgb, alpha])


def paste(image: torch.Tensor, rgba: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Lay a cut-out over a random place of the image, partly outside at times.

    Returns:
        The new image, the pasted object's pixels (bool [H, W]) and its whole area in px, the part outside included.
    """
    _, height, width = image.shape
    _, h, w = rgba.shape
    left, top = round(_uniform(-w / 2, width - w / 2)), round(_uniform(-h / 2, height - h / 2))
    y0, x0, y1, x1 = max(0, top), max(0, left), min(height, top + h), min(width, left + w)
    visible = rgba[:, y0 - top : y1 - top, x0 - left : x1 - left].float()
    alpha = visible[3:] / 255
    pasted = image.clone()
    under = image[:, y0:y1, x0:x1].float()
    pasted[:, y0:y1, x0:x1] = (visible[:3] * alpha + under * (1 - alpha)).round().to(torch.uint8)
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[y0:y1, x0:x1] = alpha[0] > 0.5
    return pasted, mask, float((rgba[3] > 127).sum())


def change_colours(image: torch.Tensor, chance: float) -> torch.Tensor:
    """Change brightness, contrast, saturation and hue, each with the given chance."""
    return v2.RandomPhotometricDistort(p=chance)(image) if chance else image


def polygon_area(polygon: torch.Tensor) -> float:
    """Area of a polygon [points, 2] in px (shoelace formula)."""
    x, y = polygon.double().unbind(1)
    return abs(float((x * y.roll(-1) - y * x.roll(-1)).sum())) / 2


def visible_box_xyxy(
    mask: torch.Tensor, area: float, bounds_xyxy: tuple[float, float, float, float]
) -> tuple[float, float, float, float] | None:
    """Box around what is visible of an object, or None if that is too little to count.

    Args:
        mask: the object's visible pixels, bool [H, W].
        area: px of the whole object, its hidden parts included.
        bounds_xyxy: exact bounds of the whole object, finer than whole pixels; the box never exceeds them.
    """
    count = int(mask.sum())
    if count == 0 or count < MIN_VISIBLE_SHARE * area:
        return None
    columns, rows = mask.any(0).nonzero(), mask.any(1).nonzero()
    x0, y0 = max(float(columns[0]), bounds_xyxy[0]), max(float(rows[0]), bounds_xyxy[1])
    x1, y1 = min(float(columns[-1]) + 1, bounds_xyxy[2]), min(float(rows[-1]) + 1, bounds_xyxy[3])
    return (x0, y0, x1, y1) if min(x1 - x0, y1 - y0) >= MIN_SIDE_PX else None


def _surroundings(polygon: torch.Tensor) -> tuple[int, int, int, int]:
    left, top = (int(value) - 1 for value in polygon.amin(0))
    right, bottom = (math.ceil(value) + 1 for value in polygon.amax(0).tolist())
    return left, top, right, bottom


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))
