"""What is drawn in the real VIA programs: images, attributes and regions, with the boxes that they must have."""

import math
from pathlib import Path
from typing import NamedTuple

from PIL import Image

Point = tuple[float, float]  # px of the upright image
Values = dict[str, str]  # of a region, by attribute; several ticks with commas between them

SITE = "http://via.example/"  # where the browser thinks that it is
ROTATED = 6  # EXIF orientation: the stored pixels must be turned by 90° clockwise

SIZES_WH = {  # of the upright images in px
    "plain.jpg": (160, 120),
    "EXIF 6.JPG": (100, 150),
    "Käfer (1) [a].png": (90, 140),
    "苹果 & 梨.jpeg": (200, 130),
    "nothing here.png": (64, 48),
    "large.png": (1600, 1100),
    "one, two.png": (80, 60),
    "extreme.png": (120, 90),
}
PATHS = {  # names of images added by path or URL, and where they lie in the folder of images
    "sub/deep.jpg": "sub/deep.jpg",
    "/home/someone/pictures/absolute.jpg": "home/someone/pictures/absolute.jpg",
    SITE + "web/from%20the%20web.jpg": "web/from the web.jpg",
}
UNREACHABLE = {  # for the browser, which shows the image of the folder in their place
    "file:///home/someone/a%20folder/uri.jpg": "sub/uri.jpg",
    r"C:\Users\someone\pictures\win.jpg": "win.jpg",
}
IMPORTED = "imported.jpg"  # comes into VIA 2 with a JSON file that lacks its size
RECT = {"name": "rect", "x": 10, "y": 20, "width": 40, "height": 40}  # drawn on all of these
PATH_SIZES_WH = {
    place: (100 + 10 * number, 80) for number, place in enumerate([*PATHS.values(), *UNREACHABLE.values(), IMPORTED])
}
ATTRIBUTES = {  # kind, and the options' ids with their descriptions
    "species": ("text", {}),
    "size": ("dropdown", {"small": "Small one", "large": "Large one", "huge": ""}),
    "state": ("radio", {"raw": "Not yet ripe", "ripe": "Ripe"}),
    "tags": ("checkbox", {"red": "It is red", "round": "It is round"}),
    "parts": ("checkbox", {"stem": "Stem", "leaf": "Leaf"}),
    "note": ("text", {}),
}
CAT = {"species": "cat", "size": "small", "state": "raw", "tags": "red"}
DOG = {"species": "dog", "size": "large", "state": "ripe", "tags": "round", "parts": "stem,leaf"}
DOG["note"] = 'said "no", left; naïve'
BIRD = {"species": "bird", "size": "huge", "state": "raw", "tags": "round", "parts": "leaf"}


class Region(NamedTuple):
    """One region to draw, by the points at which the mouse is pressed or released."""

    shape: str
    points: list[Point]  # rect: two corners; circle: centre, a point on it; ellipse: centre, a corner of its box
    values: Values
    handle: tuple[Point, Point] | None = None  # a handle that is dragged afterwards, and where to


def regions_of(program: str) -> dict[str, list[Region]]:
    """Give the regions of each image; VIA 2 can turn ellipses, VIA 3 has shapes of its own."""
    is_via2 = program == "via2"
    regions = {
        "plain.jpg": [
            Region("rect", [(10, 20), (50, 80)], CAT),
            Region("circle", [(110, 40), (125, 60)], DOG),
            Region("ellipse", [(60, 100), (90, 112)], BIRD, ((90, 100), (85, 112)) if is_via2 else None),
        ],
        "EXIF 6.JPG": [
            Region("polygon", [(30, 40), (70, 35), (80, 100), (45, 115)], DOG),
            Region("polyline", [(60, 125), (90, 128), (85, 145), (66, 131)], CAT),
        ],
        "Käfer (1) [a].png": [
            Region("rect", [(89, 139), (0, 100)], BIRD),
            Region("circle", [(20, 20), (35, 35)], CAT),  # reaches beyond the corner
        ],
        "苹果 & 梨.jpeg": [
            Region("ellipse", [(100, 60), (150, 90)], CAT),
            Region("point", [(20, 20)], {}),
            Region("rect", [(10, 90), (40, 120)], DOG),
        ],
        "large.png": [
            Region("polygon", [(900, 200), (1500, 300), (1400, 1000), (1000, 900), (1100, 600)], BIRD),
            Region("circle", [(400, 300), (500, 400)], DOG, ((541, 300), (600, 310)) if is_via2 else None),
        ],
        "one, two.png": [Region("rect", [(10, 10), (40, 40)], CAT)],
    }
    if program == "via3":
        regions["extreme.png"] = [
            Region("extreme_rectangle", [(20, 10), (60, 30), (30, 60), (5, 35)], CAT),
            Region("extreme_circle", [(80, 20), (100, 40), (80, 60)], DOG),
            Region("line", [(10, 80), (110, 75)], {}),
        ]
    return regions


def images_of(program: str) -> list[str]:
    """Give the images that are loaded; one of them stays without regions."""
    drawn_on = regions_of(program)
    return [name for name in SIZES_WH if name in drawn_on or name == "nothing here.png"]


def box_of(region: Region, size_wh: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """Give the xyxy box that a region must have, clipped to the image; None: it has no area."""
    if region.shape in ("point", "line"):
        return None
    xs, ys = zip(*region.points, strict=True)
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    if region.shape in ("circle", "ellipse", "extreme_circle"):
        x, y = (80, 40) if region.shape == "extreme_circle" else region.points[0]
        half_width, half_height = half_sizes(region)
        left, top, right, bottom = x - half_width, y - half_height, x + half_width, y + half_height
    width, height = size_wh
    return max(left, 0), max(top, 0), min(right, width), min(bottom, height)


def half_sizes(region: Region) -> Point:
    """Give half of the width and height of the box around a circle or an ellipse."""
    (x0, y0), (x1, y1) = region.points[:2]
    dx, dy = x1 - x0, y1 - y0
    if region.handle:
        dx, dy = region.handle[1][0] - x0, region.handle[1][1] - y0
    if region.shape == "ellipse" and region.handle:  # the handle at its right: turns it and sets rx
        rx, ry, theta = math.hypot(dx, dy), y1 - y0, math.atan2(dy, dx)
        return (
            math.hypot(rx * math.cos(theta), ry * math.sin(theta)),
            math.hypot(rx * math.sin(theta), ry * math.cos(theta)),
        )
    if region.shape == "ellipse":
        return dx, dy
    radius = 20 if region.shape == "extreme_circle" else math.hypot(dx, dy)
    return radius, radius


def write_images(folder: Path) -> None:
    """Write all images, one of them sideways with an EXIF orientation."""
    for number, (name, (width, height)) in enumerate((SIZES_WH | PATH_SIZES_WH).items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        is_rotated = name.startswith("EXIF")
        image = Image.new("RGB", (height, width) if is_rotated else (width, height), (20 * number, 90, 160))
        exif = Image.Exif()
        if is_rotated:
            exif[0x0112] = ROTATED
        image.save(path, exif=exif)
