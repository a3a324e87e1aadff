"""What a training image goes through: a random view of one photograph or of four, pasted objects, changed colours.

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
PASTED_SIDE = (0.05, 0.6)  # longer side of a pasted object, as a share of the input's shorter side
PASTED_TURN_DEG = 20.0
CLUSTER_SCALE = (0.7, 1.4)  # size of an object in a cluster against that of the one before
CLUSTER_STEP = (0.4, 1.0)  # how far their centres are apart, as a share of both radii: they overlap
MOSAIC_CENTRE = (0.3, 0.7)  # where the four views of a mosaic meet, as a share of the input's sides


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

    image: torch.Tensor  # uint8 [3, H, W]
    boxes_xyxy: torch.Tensor  # float32 [M, 4]
    labels: torch.Tensor  # int64 [M], from 1


class Object(NamedTuple):
    """What of an object can be seen in a sample."""

    label: int
    mask: torch.Tensor  # its visible pixels, bool [H, W]
    area: float  # px of the whole object, its hidden parts included
    bounds_xyxy: tuple[float, float, float, float]  # finer than whole pixels; its box never exceeds them


def augment(
    scenes: Sequence[Scene],
    index: int,
    cut_outs: Sequence[CutOut],
    params: AugmentParams,
    input_wh: tuple[int, int],
    fill_rgb: tuple[int, int, int],
) -> Sample:
    """Make a training sample of one scene, in a mosaic with three others; the scenes are left unchanged."""
    width, height = input_wh
    if params.mosaic and _uniform(0, 1) < params.mosaic:
        chosen = [scenes[index], *(scenes[int(torch.randint(len(scenes), ()))] for _ in range(3))]
        image, objects = mosaic(chosen, params, input_wh, fill_rgb)
    else:
        image, objects = place_view(blank_canvas(input_wh, fill_rgb), (0, 0, width, height), scenes[index], params)
    if cut_outs and params.copy_paste:
        image, objects = copy_paste(image, objects, cut_outs, params)
    seen = [(visible_box_xyxy(object_), object_.label) for object_ in objects]
    seen = [(box_xyxy, label) for box_xyxy, label in seen if box_xyxy is not None]
    return Sample(
        change_colours(image, params.colour),
        torch.tensor([box_xyxy for box_xyxy, _ in seen], dtype=torch.float32).reshape(-1, 4),
        torch.tensor([label for _, label in seen], dtype=torch.int64),
    )


def mosaic(
    scenes: list[Scene], params: AugmentParams, input_wh: tuple[int, int], fill_rgb: tuple[int, int, int]
) -> tuple[torch.Tensor, list[Object]]:
    """Put random views of four scenes beside each other (Bochkovskiy et al. 2020), the first at a random corner."""
    width, height = input_wh
    x, y = (round(_uniform(*MOSAIC_CENTRE) * side) for side in input_wh)
    tiles_xyxy = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
    image, objects = blank_canvas(input_wh, fill_rgb), []
    for tile, scene in zip(torch.randperm(4).tolist(), scenes, strict=True):
        image, placed = place_view(image, tiles_xyxy[tile], scene, params)
        objects += placed
    return image, objects


def place_view(
    image: torch.Tensor, tile_xyxy: tuple[int, int, int, int], scene: Scene, params: AugmentParams
) -> tuple[torch.Tensor, list[Object]]:
    """Lay a random view of a scene into a tile of an image, which shows where there is no photograph."""
    x0, y0, x1, y1 = tile_xyxy
    view = random_view(scene, params, image[:, y0:y1, x0:x1])
    image = image.clone()
    image[:, y0:y1, x0:x1] = view.image
    objects = []
    for polygon, label in zip(view.polygons, view.labels, strict=True):
        mask = torch.zeros(image.shape[1:], dtype=torch.bool)
        mask[y0:y1, x0:x1] = polygon_mask(polygon, x1 - x0, y1 - y0)
        placed = polygon + torch.tensor([x0, y0])
        objects.append(Object(label, mask, polygon_area(polygon), (*placed.amin(0).tolist(), *placed.amax(0).tolist())))
    return image, objects


def random_view(scene: Scene, params: AugmentParams, canvas: torch.Tensor) -> Scene:
    """Scale the photograph at random (large scale jitter, Ghiasi et al. 2021), move it within a canvas, mirror it.

    What lies outside of the canvas, uint8 [3, H, W], is cut off the image, not off the polygons.
    """
    _, height, width = scene.image.shape
    canvas_wh = (canvas.shape[2], canvas.shape[1])
    scale = _uniform(*params.scale) * min(canvas_wh[0] / width, canvas_wh[1] / height)
    size_wh = [max(1, round(width * scale)), max(1, round(height * scale))]
    # Offset of the canvas within the scaled photograph: negative where the photograph is the smaller one.
    left, top = (
        round(_uniform(min(0, side - room), max(0, side - room))) for side, room in zip(size_wh, canvas_wh, strict=True)
    )
    resized = F.resize(scene.image, size_wh[::-1], antialias=True)
    seen = resized[:, max(0, top) : top + canvas_wh[1], max(0, left) : left + canvas_wh[0]]
    canvas, y, x = canvas.clone(), max(0, -top), max(0, -left)
    canvas[:, y : y + seen.shape[1], x : x + seen.shape[2]] = seen
    scale_xy = torch.tensor([size_wh[0] / width, size_wh[1] / height])
    polygons = [polygon * scale_xy - torch.tensor([left, top]) for polygon in scene.polygons]
    if _uniform(0, 1) < params.flip:
        canvas = canvas.flip(2)
        polygons = [torch.stack([canvas_wh[0] - polygon[:, 0], polygon[:, 1]], 1) for polygon in polygons]
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


def copy_paste(
    image: torch.Tensor, objects: list[Object], cut_outs: Sequence[CutOut], params: AugmentParams
) -> tuple[torch.Tensor, list[Object]]:
    """Paste a random number of cut-outs over an image, some of them in clusters; objects beneath lose what is covered.

    After Dwibedi et al. 2017 and Ghiasi et al. 2021.
    """
    _, height, width = image.shape
    shorter_side, before = min(height, width), None
    for _ in range(int(torch.randint(params.copy_paste + 1, ()))):
        cut_out = cut_outs[int(torch.randint(len(cut_outs), ()))]
        if before is not None and _uniform(0, 1) < params.cluster:
            centre_xy, side = before
            side *= _uniform(*CLUSTER_SCALE)
            angle, step = _uniform(0, 2 * math.pi), _uniform(*CLUSTER_STEP) * (before[1] + side) / 2
            centre_xy = (centre_xy[0] + step * math.cos(angle), centre_xy[1] + step * math.sin(angle))
        else:
            centre_xy = (_uniform(0, width), _uniform(0, height))
            side = math.exp(_uniform(*(math.log(share * shorter_side) for share in PASTED_SIDE)))
        rgba = random_cut_out(cut_out.rgba, side)
        before = centre_xy, float(max(rgba.shape[1:]))
        image, mask, area = paste(image, rgba, centre_xy)
        objects = [below._replace(mask=below.mask & ~mask) for below in objects]
        objects.append(Object(cut_out.label, mask, area, (0.0, 0.0, float(width), float(height))))
    return image, objects


def random_cut_out(rgba: torch.Tensor, side: float) -> torch.Tensor:
    """Mirror, turn and recolour a cut-out, uint8 [4, h, w], resize its longer side to `side` px, soften its edge.

    An object is not enlarged beyond MAX_ENLARGED.
    """
    if _uniform(0, 1) < 0.5:
        rgba = rgba.flip(2)
    rgba = F.rotate(rgba, _uniform(-PASTED_TURN_DEG, PASTED_TURN_DEG), F.InterpolationMode.BILINEAR, expand=True)
    scale = min(side / max(rgba.shape[1:]), MAX_ENLARGED)
    rgba = F.resize(rgba, [max(2, round(length * scale)) for length in rgba.shape[1:]], antialias=True)
    rgb = v2.ColorJitter(brightness=0.3, saturation=0.3, hue=0.5)(rgba[:3])
    # A hard edge would be a sign that no photograph has (Dwibedi et al. 2017).
    alpha = F.gaussian_blur(rgba[3:], [3, 3]) if min(rgba.shape[1:]) > 3 else rgba[3:]
    return torch.cat([rgb, alpha])


def paste(
    image: torch.Tensor, rgba: torch.Tensor, centre_xy: tuple[float, float]
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Lay a cut-out over an image, its centre at `centre_xy`; what lies outside is lost.

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


def change_colours(image: torch.Tensor, chance: float) -> torch.Tensor:
    """Change brightness, contrast, saturation and hue, each with the given chance."""
    return v2.RandomPhotometricDistort(p=chance)(image) if chance else image


def polygon_area(polygon: torch.Tensor) -> float:
    """Area of a polygon [points, 2] in px (shoelace formula)."""
    x, y = polygon.double().unbind(1)
    return abs(float((x * y.roll(-1) - y * x.roll(-1)).sum())) / 2


def visible_box_xyxy(object_: Object) -> tuple[float, float, float, float] | None:
    """Box around what is visible of an object, or None if that is too little to count."""
    count = int(object_.mask.sum())
    if count == 0 or count < MIN_VISIBLE_SHARE * object_.area:
        return None
    columns, rows, bounds_xyxy = object_.mask.any(0).nonzero(), object_.mask.any(1).nonzero(), object_.bounds_xyxy
    x0, y0 = max(float(columns[0]), bounds_xyxy[0]), max(float(rows[0]), bounds_xyxy[1])
    x1, y1 = min(float(columns[-1]) + 1, bounds_xyxy[2]), min(float(rows[-1]) + 1, bounds_xyxy[3])
    return (x0, y0, x1, y1) if min(x1 - x0, y1 - y0) >= MIN_SIDE_PX else None


def _surroundings(polygon: torch.Tensor) -> tuple[int, int, int, int]:
    left, top = (int(value) - 1 for value in polygon.amin(0))
    right, bottom = (math.ceil(value) + 1 for value in polygon.amax(0).tolist())
    return left, top, right, bottom


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))
