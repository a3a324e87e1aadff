"""Random changes of brightness, contrast, saturation and hue: torchvision's, in a fraction of its time.

Like torchvision's, each change ends with whole numbers. Pixels are changed in place, some rows at a time, so that what
is computed in between stays in the processor's cache. Only sums, products and comparisons are used, which have the
same result on any processor.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch

from viadet.augmentation.randomness import uniform

CHUNK_PX = 2**15
GREY = (0.2989, 0.587, 0.114)  # share of red, green and blue
# ranges of the changes of a whole sample: those of SSD (Liu et al. 2016), as torchvision's RandomPhotometricDistort has
BRIGHTNESS, CONTRAST, SATURATION, HUE = (0.875, 1.125), (0.5, 1.5), (0.5, 1.5), (-0.05, 0.05)
PASTED_CHANGE = (0.7, 1.3)  # of brightness and of saturation of a pasted object

Change = Callable[[torch.Tensor], None]  # of uint8 [3, H, W], in place


def random_distortion(probability: float) -> list[Change]:
    """Draw the changes of a whole sample, each with this probability."""
    (brighter, contrasted, saturated, turned) = (
        [partial(change, **{name: uniform(*limits)})] if uniform(0, 1) < probability else []
        for change, name, limits in (
            (change_brightness, "factor", BRIGHTNESS),
            (change_contrast, "factor", CONTRAST),
            (change_saturation, "factor", SATURATION),
            (turn_hue, "turns", HUE),
        )
    )
    first = uniform(0, 1) < 0.5
    return [*brighter, *(contrasted if first else []), *saturated, *turned, *([] if first else contrasted)]


def random_jitter(hue: float) -> list[Change]:
    """Draw the changes of a pasted object, in any order; its hue changes by at most `hue` turns."""
    order = torch.randperm(3).tolist()
    changes = [
        partial(change_brightness, factor=uniform(*PASTED_CHANGE)),
        partial(change_saturation, factor=uniform(*PASTED_CHANGE)),
        partial(turn_hue, turns=uniform(-hue, hue)),
    ]
    return [changes[index] for index in order]


def change_brightness(image: torch.Tensor, factor: float) -> None:
    """Multiply the pixels of an image, uint8 [3, H, W], in place."""
    for rows in _chunks(image):
        _write(rows, rows.float().mul_(factor).clamp_(0, 255))


def change_contrast(image: torch.Tensor, factor: float) -> None:
    """Multiply the distances of all pixels, uint8 [3, H, W], from their mean grey, in place."""
    total = sum(float(_grey(rows.float()).sum(dtype=torch.float64)) for rows in _chunks(image))  # whole numbers: exact
    mean = total / image[0].numel()
    for rows in _chunks(image):
        _write(rows, rows.float().mul_(factor).add_((1 - factor) * mean).clamp_(0, 255))


def change_saturation(image: torch.Tensor, factor: float) -> None:
    """Multiply the distance of each pixel, uint8 [3, H, W], from its grey, in place."""
    for rows in _chunks(image):
        pixels = rows.float()
        grey = _grey(pixels).mul_(1 - factor)
        _write(rows, pixels.mul_(factor).add_(grey).clamp_(0, 255))


def turn_hue(image: torch.Tensor, turns: float) -> None:
    """Change the hue of the pixels, uint8 [3, H, W], in HSV, by at most half a turn of the colour circle, in place.

    In HSV a channel depends on how far the hue is from that channel's own (0 for red), on a circle of six times the
    chroma: it is the highest value up to one chroma away, the lowest from two on, and falls in between. The distances
    of a pixel are sums of its channels, so that nothing need be divided; then they change, and give the new channels.
    """
    ahead, behind = (-1, -2) if turns >= 0 else (-2, -1)
    for rows in _chunks(image):
        pixels = rows.float()
        red, green, blue = pixels
        highest = torch.maximum(red, green).clamp_(min=blue)
        lowest = torch.minimum(red, green).clamp_(max=blue)
        chroma = highest - lowest
        # from the hues of red, green and blue: red + green + blue + highest - 2 lowest - 2 * the channel
        distances = (red + green + blue + chroma - lowest) - 2 * pixels
        # A red pixel with more green than blue is turned away from red, one with more blue towards it.
        distances += torch.copysign(chroma * (6 * abs(turns)), pixels.roll(ahead, 0) - pixels.roll(behind, 0))
        half_circle = 3 * chroma
        # on the circle: highest + chroma - (half_circle - abs(abs(distances) - half_circle))
        turned = distances.abs_().sub_(half_circle).abs_().add_(highest - 2 * chroma)
        turned = torch.minimum(torch.maximum(turned, lowest, out=turned), highest, out=turned)
        _write(rows, turned.mul_(255.999 / 255))  # as torchvision rounds


def _chunks(image: torch.Tensor) -> Iterator[torch.Tensor]:
    return iter(image.split(max(1, CHUNK_PX // image.shape[2]), 1))


def _write(rows: torch.Tensor, pixels: torch.Tensor) -> None:
    rows.copy_(pixels.to(torch.int16))  # without this step torch takes four times as long to drop the fractions


def _grey(pixels: torch.Tensor) -> torch.Tensor:
    red, green, blue = (channel * share for channel, share in zip(pixels, GREY, strict=True))
    return red.add_(green).add_(blue).floor_()
