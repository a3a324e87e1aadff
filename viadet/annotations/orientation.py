"""EXIF orientation: telling regions that were drawn in an image as it is stored, before it is turned upright.

VIA has no code for it: regions are in px of what the browser shows. Most browsers before 2020 show an image as it is
stored; today's turn it, but Chromium, for one, only JPEG and PNG, not WebP.
"""

from pathlib import Path
from typing import NamedTuple

from PIL import ExifTags, Image

from viadet.images.decoding import FORMATS
from viadet.via.images import UnusableError
from viadet.via.shapes import Points

UPRIGHT = 1
TURNED_BY_90 = (5, 6, 7, 8)  # orientations whose width is the stored height
EDGE = 0.01  # of a side; what lies no further beyond it may be rounded, or drawn carelessly


class UnturnedRegion(NamedTuple):
    """A region of an image that was drawn before the image was turned."""

    number: int  # its place among the image's regions
    orientation: int  # EXIF
    stored_wh: tuple[int, int]  # px
    upright_xywh: list[float]  # its box in px of the upright image


def read_orientation(path: Path) -> int:
    """Read how an image that can be decoded is to be turned; 1 if it is upright, or says nothing."""
    with Image.open(path, formats=FORMATS) as file:
        orientation = file.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    return orientation if orientation in range(1, 9) else UPRIGHT


def find_unturned(
    outlines: list[Points | UnusableError], path: Path, upright_wh: tuple[int, int]
) -> UnturnedRegion | None:
    """Find the first outline of an image's regions that lies beyond the upright image, but inside the stored one.

    None are found in an image that has a region of the opposite kind: that one was drawn upright. Where width and
    height are not exchanged, or all regions fit both, nothing tells.
    """
    stored_wh = upright_wh[::-1]
    fits = [
        None if isinstance(outline, UnusableError) else (_fits(outline, upright_wh), _fits(outline, stored_wh))
        for outline in outlines
    ]
    if (False, True) not in fits or (True, False) in fits:
        return None
    orientation = read_orientation(path)
    if orientation not in TURNED_BY_90:
        return None
    number = fits.index((False, True))
    points = [turn_upright(point, orientation, stored_wh) for point in outlines[number]]
    xs, ys = zip(*points, strict=True)
    return UnturnedRegion(number, orientation, stored_wh, [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)])


def turn_upright(point: tuple[float, float], orientation: int, stored_wh: tuple[int, int]) -> tuple[float, float]:
    """Turn a point (x, y) in px of the stored image as an EXIF orientation of TURNED_BY_90 turns that image."""
    x, y = point
    width, height = stored_wh
    return (y if orientation in (5, 8) else height - y, x if orientation in (5, 6) else width - x)


def _fits(outline: Points, image_wh: tuple[int, int]) -> bool:
    width, height = image_wh
    return all(
        -EDGE * width <= x <= (1 + EDGE) * width and -EDGE * height <= y <= (1 + EDGE) * height for x, y in outline
    )
