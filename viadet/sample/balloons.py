"""Balloons: their shape, and where those of an image float."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from viadet.sample.colours import Colour, saturated_colour

COUNT_CHANCES = [0.08, 0.20, 0.19, 0.16, 0.12, 0.10, 0.07, 0.05, 0.03]  # of 0 to 8 balloons in an image
# Length of a balloon against the longer side of the image: at 256 px these are COCO's small, medium and large.
LENGTH_RANGES = [(0.06, 0.13), (0.14, 0.39), (0.43, 0.62)]
LENGTH_CHANCES = [0.15, 0.47, 0.38]
MIN_VISIBLE = 0.35  # share of a body; less is not a balloon that a person would mark
PLACEMENT_TRIES = 30
OUTLINE_STEPS = 40
NECK = 0.16  # rad of the outline's parameter at which the body ends and the knot begins
KNOT = ((-0.05, 1.03), (-0.10, 1.13), (0.10, 1.13), (0.05, 1.03))  # (across, along) in half lengths


@dataclass(frozen=True)
class Balloon:
    """One balloon, in canvas px."""

    centre: tuple[float, float]
    length: float  # of the body without the knot
    aspect: float  # width against length
    taper: float  # how much narrower it is towards the knot; 0 is an ellipse
    tilt: float  # rad, clockwise as seen
    colour: Colour
    anchor: tuple[float, float]  # where its string ends

    def outline(self) -> NDArray[np.float64]:
        """Give the silhouette of body and knot, without the string: (n, 2) points x, y."""
        angles = np.linspace(NECK, 2 * np.pi - NECK, OUTLINE_STEPS)
        along = np.cos(angles)  # -1 at the top, 1 at the knot
        across = self.aspect * np.sin(angles) * (1 - self.taper * along)
        local = np.concatenate([np.stack([across, along], axis=1), np.array(KNOT)]) * self.length / 2
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        return local @ np.array([[cos, sin], [-sin, cos]]) + np.array(self.centre)


def place_balloons(rng: np.random.Generator, canvas_wh: tuple[int, int]) -> list[Balloon]:
    """Choose the balloons of an image, from the back to the front; all are visible to MIN_VISIBLE at least."""
    longer = max(canvas_wh)
    count = rng.choice(len(COUNT_CHANCES), p=COUNT_CHANCES)
    in_bunch = rng.random() < 0.5  # balloons of a bunch overlap, and their strings meet
    hub = rng.uniform(0.3, 0.7, 2) * canvas_wh
    anchor = (hub[0], hub[1] + rng.uniform(0.45, 0.7) * longer)
    covered = np.zeros(canvas_wh[::-1], bool)
    front_to_back: list[Balloon] = []
    for _ in range(count):
        low, high = LENGTH_RANGES[rng.choice(len(LENGTH_RANGES), p=LENGTH_CHANCES)]
        length = longer * np.exp(rng.uniform(np.log(low), np.log(high)))
        shape = (length, rng.uniform(0.74, 0.92), rng.uniform(0.06, 0.2), rng.normal(0, np.radians(8)))
        colour = saturated_colour(rng)
        visible_enough = rng.uniform(MIN_VISIBLE, 1)
        for _ in range(PLACEMENT_TRIES):
            bunched = in_bunch and rng.random() < 0.75
            centre = rng.normal(hub, 0.17 * longer) if bunched else rng.uniform(0.04, 0.96, 2) * canvas_wh
            end = anchor if bunched else (centre[0] + rng.normal(0, 0.2) * length, centre[1] + 1.6 * length)
            balloon = Balloon((centre[0], centre[1]), *shape, colour, end)
            body = body_mask(balloon, canvas_wh)
            if (body & ~covered).sum() >= visible_enough * polygon_area(balloon.outline()):
                covered |= body
                front_to_back.append(balloon)
                break
    return front_to_back[::-1]


def polygon_area(points: NDArray[np.float64]) -> float:
    """Give the area of an (n, 2) polygon, in squared units of its points."""
    x, y = points.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def clip_polygon(points: NDArray[np.float64], width: float, height: float) -> NDArray[np.float64]:
    """Cut an (n, 2) polygon at the borders of the image (Sutherland and Hodgman).

    Moving outer points onto the border instead would stretch the box along it.
    """
    for axis, sign, limit in ((0, -1, 0), (0, 1, width), (1, -1, 0), (1, 1, height)):
        kept = []
        inside = sign * points[:, axis] <= sign * limit
        for k, point in enumerate(points):
            previous = points[k - 1]
            if inside[k] != inside[k - 1]:
                share = (limit - previous[axis]) / (point[axis] - previous[axis])
                kept.append(previous + share * (point - previous))
            if inside[k]:
                kept.append(point)
        points = np.array(kept).reshape(-1, 2)
    return points


def body_mask(balloon: Balloon, canvas_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """Mark the pixels of a balloon, (height, width)."""
    mask = Image.new("1", canvas_wh)
    ImageDraw.Draw(mask).polygon([tuple(point) for point in balloon.outline()], fill=1)
    return np.asarray(mask)
