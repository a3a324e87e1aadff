"""The whole augmentation: a random view of one photograph or a mosaic of four, pasted objects, changed colours.

Points and boxes are in px, x to the right, y down, the upper left corner of the upper left pixel at (0, 0): a mirrored
x is `width - x`. All randomness comes from torch's default generator, which the training set seeds for each sample.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from viadet.augmentation.copy_paste import CutOut, copy_paste
from viadet.augmentation.objects import Object, Sample, Scene, label_in_sample, visible_box_xyxy
from viadet.augmentation.randomness import uniform
from viadet.images.pixels import blank_canvas
from viadet.images.polygons import polygon_area, polygon_mask
from viadet.project.params import AugmentParams

MOSAIC_CENTRE = (0.3, 0.7)  # where the four views of a mosaic meet, as a share of the input's sides


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
    if params.mosaic and uniform(0, 1) < params.mosaic:
        chosen = [scenes[index], *(scenes[int(torch.randint(len(scenes), ()))] for _ in range(3))]
        image, objects = mosaic(chosen, params, input_wh, fill_rgb)
    else:
        image, objects = place_view(blank_canvas(input_wh, fill_rgb), (0, 0, width, height), scenes[index], params)
    if cut_outs and params.copy_paste:
        image, objects = copy_paste(image, objects, cut_outs, params)
    boxes = [(visible_box_xyxy(object_), object_) for object_ in objects]
    visible = [(box_xyxy, label_in_sample(object_, box_xyxy)) for box_xyxy, object_ in boxes if box_xyxy is not None]
    if params.colour:
        image = PhotometricDistort(p=params.colour)(image)
    if params.channels and uniform(0, 1) < params.channels:
        image = image[torch.randperm(3)]  # an object's colour then tells nothing
    return Sample(
        image,
        torch.tensor([box_xyxy for box_xyxy, _ in visible], dtype=torch.float32).reshape(-1, 4),
        torch.tensor([label for _, label in visible], dtype=torch.int64),
    )


class PhotometricDistort(v2.RandomPhotometricDistort):
    """Torchvision's photometric distortion without its permutation of the channels."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the changes of one image."""
        return super().make_params(flat_inputs) | {"channel_permutation": None}


def mosaic(
    scenes: list[Scene], params: AugmentParams, input_wh: tuple[int, int], fill_rgb: tuple[int, int, int]
) -> tuple[torch.Tensor, list[Object]]:
    """Tile random views of four scenes (Bochkovskiy et al. 2020), the first at a random corner."""
    width, height = input_wh
    x, y = (round(uniform(*MOSAIC_CENTRE) * side) for side in input_wh)
    tiles_xyxy = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
    image, objects = blank_canvas(input_wh, fill_rgb), []
    for tile, scene in zip(torch.randperm(4).tolist(), scenes, strict=True):
        image, placed = place_view(image, tiles_xyxy[tile], scene, params)
        objects += placed
    return image, objects


def place_view(
    image: torch.Tensor, tile_xyxy: tuple[int, int, int, int], scene: Scene, params: AugmentParams
) -> tuple[torch.Tensor, list[Object]]:
    """Place a random view of a scene into a tile of an image, which stays visible beside the photograph."""
    x0, y0, x1, y1 = tile_xyxy
    view = random_view(scene, params, image[:, y0:y1, x0:x1])
    image = image.clone()
    image[:, y0:y1, x0:x1] = view.image
    objects = []
    for polygon, label in zip(view.polygons, view.labels, strict=True):
        mask = torch.zeros(image.shape[1:], dtype=torch.bool)
        points = polygon.numpy()
        mask[y0:y1, x0:x1] = torch.from_numpy(object_mask(points, x1 - x0, y1 - y0))
        placed = polygon + torch.tensor([x0, y0])
        objects.append(Object(label, mask, polygon_area(points), (*placed.amin(0).tolist(), *placed.amax(0).tolist())))
    return image, objects


def object_mask(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """Mark the pixels inside a polygon, [points, 2]; of one thinner than a pixel, those that it touches.

    Such an object has no pixel's centre inside, and changes the picture all the same.
    """
    mask = polygon_mask(points, width, height)
    left, top = np.floor(points.min(0)).astype(int)
    right, bottom = np.ceil(points.max(0)).astype(int)
    if not mask.any() and (points.max(0) - points.min(0)).min() <= 1:
        mask[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = True
    return mask


def random_view(scene: Scene, params: AugmentParams, canvas: torch.Tensor) -> Scene:
    """Scale the photograph at random (large scale jitter, Ghiasi et al. 2021), move it within a canvas, mirror it.

    What lies outside of the canvas, uint8 [3, H, W], is cut off the image, not off the polygons.
    """
    _, height, width = scene.image.shape
    canvas_wh = (canvas.shape[2], canvas.shape[1])
    scale = uniform(*params.scale) * min(canvas_wh[0] / width, canvas_wh[1] / height)
    size_wh = [max(1, round(width * scale)), max(1, round(height * scale))]
    # Offset of the canvas within the scaled photograph: negative where the photograph is the smaller one.
    left, top = (
        round(uniform(min(0, side - room), max(0, side - room))) for side, room in zip(size_wh, canvas_wh, strict=True)
    )
    resized = F.resize(scene.image, size_wh[::-1], antialias=True)
    visible = resized[:, max(0, top) : top + canvas_wh[1], max(0, left) : left + canvas_wh[0]]
    canvas, y, x = canvas.clone(), max(0, -top), max(0, -left)
    canvas[:, y : y + visible.shape[1], x : x + visible.shape[2]] = visible
    scale_xy = torch.tensor([size_wh[0] / width, size_wh[1] / height])
    polygons = [polygon * scale_xy - torch.tensor([left, top]) for polygon in scene.polygons]
    if uniform(0, 1) < params.flip:
        canvas = canvas.flip(2)
        polygons = [torch.stack([canvas_wh[0] - polygon[:, 0], polygon[:, 1]], 1) for polygon in polygons]
    return Scene(canvas, polygons, scene.labels)
