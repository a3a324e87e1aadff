"""Balloons: their shape, and choosing those of an image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from viadet.images.polygons import polygon_area
from viadet.sample.pixels import Colour, bright_colour

COUNT_CHANCES = [0.08, 0.20, 0.19, 0.16, 0.12, 0.10, 0.07, 0.05, 0.03]  # of 0 to 8 balloons in an image
# Length of a balloon as a share of the image's longer side: at 256 px these are COCO's small, medium and large.
LENGTH_RANGES = [(0.06, 0.13), (0.14, 0.39), (0.43, 0.62)]
LENGTH_CHANCES = [0.15, 0.47, 0.38]
BUNCH_CHANCE = 0.5  # of an image with a bunch of balloons, which overlap and whose strings meet
MEMBER_CHANCE = 0.75  # of a balloon of such an image to belong to the bunch
MIN_VISIBLE = 0.35  # share of a body; a person would not annotate a balloon of which less can be seen
PLACEMENT_TRIES = 30
OUTLINE_STEPS = 40
NECK = 0.16  # rad of the outline's parameter at which the body ends and the knot begins
KNOT = ((-0.05, 1.03), (-0.10, 1.13), (0.10, 1.13), (0.05, 1.03))  # (across, along) in half lengths


@dataclass(frozen=True)
class Balloon:
    """One balloon, in canvas px."""

    centre: tuple[float, float]
    length: float  # of the body without the knot
    aspect: float  # width / length
    taper: float  # how much narrower it is towards the knot; 0 is an ellipse
    tilt: float  # rad, clockwise in the picture
    colour: Colour
    anchor: tuple[float, float]  # where its string ends

    def outline(self) -> NDArray[np.float64]:
        """Give the silhouette of body and knot, without the string, as points x, y, [points, 2]."""
        angles = np.linspace(NECK, 2 * np.pi - NECK, OUTLINE_STEPS)
        along = np.cos(angles)  # -1 at the top, 1 at the knot
        across = self.aspect * np.sin(angles) * (1 - self.taper * along)
        local = np.concatenate([np.stack([across, along], axis=1), np.array(KNOT)]) * self.length / 2
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        return local @ np.array([[cos, sin], [-sin, cos]]) + np.array(self.centre)


Bunch = tuple[NDArray[np.float64], tuple[float, float]]  # canvas px: its middle, and where its strings meet


def place_balloons(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> list[Balloon]:
    """Choose the balloons of an image, from back to front; at least MIN_VISIBLE of each can be seen."""
    longer = max(canvas_wh)
    count = rng.choice(len(COUNT_CHANCES), p=COUNT_CHANCES)
    has_bunch = rng.random() < BUNCH_CHANCE
    hub = rng.uniform(0.3, 0.7, 2) * canvas_wh
    bunch = hub, (hub[0], hub[1] + rng.uniform(0.45, 0.7) * longer)
    covered = np.zeros(canvas_wh[::-1], bool)
    front_to_back = []
    for _ in range(count):
        balloon = _place_balloon(rng, covered, bunch if has_bunch else None)
        if balloon is not None:
            covered |= body_mask(balloon, canvas_wh)
            front_to_back.append(balloon)
    return front_to_back[::-1]


def body_mask(balloon: Balloon, canvas_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """Mark the pixels of a balloon without its string, [height, width]."""
    mask = Image.new("1", canvas_wh)
    ImageDraw.Draw(mask).polygon([tuple(point) for point in balloon.outline()], fill=1)
    return np.asarray(mask)


def _place_balloon(rng: np.random.Generator, covered: NDArray[np.bool_], bunch: Bunch | None) -> Balloon | None:
    """Choose a balloon behind those that cover the pixels `covered`; None if no free place was found."""
    canvas_wh = covered.shape[::-1]
    longer = max(canvas_wh)
    low, high = LENGTH_RANGES[rng.choice(len(LENGTH_RANGES), p=LENGTH_CHANCES)]
    length = longer * np.exp(rng.uniform(np.log(low), np.log(high)))
    shape = (length, rng.uniform(0.74, 0.92), rng.uniform(0.06, 0.2), rng.normal(0, np.radians(8)))
    colour = bright_colour(rng)
    min_visible = rng.uniform(MIN_VISIBLE, 1)
    for _ in range(PLACEMENT_TRIES):
        if bunch is not None and rng.random() < MEMBER_CHANCE:
            hub, anchor = bunch
            x, y = rng.normal(hub, 0.17 * longer)
        else:
            x, y = rng.uniform(0.04, 0.96, 2) * canvas_wh
            anchor = (x + rng.normal(0, 0.2) * length, y + 1.6 * length)
        balloon = Balloon((x, y), *shape, colour, anchor)
        visible = body_mask(balloon, canvas_wh) & ~covered
        if visible.sum() >= min_visible * polygon_area(balloon.outline()):
            return balloon
    return None
