"""The whole augmentation: a random view of one photograph or a mosaic of four, pasted objects, changed colours.

Points and boxes are in px, x to the right, y down, the upper left corner of the upper left pixel at (0, 0): a mirrored
x is `width - x`. All randomness comes from torch's default generator, which the training set seeds for each sample.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torchvision.transforms import v2

from viadet.augmentation.copy_paste import CutOut, copy_paste
from viadet.augmentation.objects import Sample, Scene, visible_box_xyxy
from viadet.augmentation.randomness import uniform
from viadet.augmentation.views import mosaic, place_view
from viadet.images.pixels import blank_canvas
from viadet.project.params import AugmentParams


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
    boxes = [(visible_box_xyxy(object_), object_.label) for object_ in objects]
    visible = [(box_xyxy, label) for box_xyxy, label in boxes if box_xyxy is not None]
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
