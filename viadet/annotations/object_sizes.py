"""How large the objects of a data set are in the network's input, and what shows small ones large enough."""

from statistics import median

from viadet.images.tiles import zoom_of
from viadet.project.params import MAX_TILES

MEDIAN_PX = 32  # side of the median box from which on no tiles are needed: that of the smallest anchors at P3
SCALE_MARGIN = 1.25  # so that boxes larger than the median are learnt as large as tiles show them
SCALES = (2.0, 8.0)  # least and greatest upper end of the random scale


def median_side_px(coco: dict, input_wh: tuple[int, int]) -> float | None:
    """Compute the median root of the boxes' area in px of the network's input; None: there are no boxes."""
    width, height = input_wh
    scales = {image["id"]: min(width / image["width"], height / image["height"]) for image in coco["images"]}
    sides = [scales[a["image_id"]] * (a["bbox"][2] * a["bbox"][3]) ** 0.5 for a in coco["annotations"]]
    return median(sides) if sides else None


def tiles_for(coco: dict, input_wh: tuple[int, int]) -> int:
    """Choose the fewest tiles of a side that show the median box with MEDIAN_PX px, at most MAX_TILES; 0: none."""
    side_px = median_side_px(coco, input_wh)
    if side_px is None or side_px >= MEDIAN_PX:
        return 0
    enough = (tiles for tiles in range(2, MAX_TILES) if side_px * zoom_of(tiles) >= MEDIAN_PX)
    return next(enough, MAX_TILES)


def largest_scale_for(coco: dict, input_wh: tuple[int, int]) -> float:
    """Choose the upper end of the random scale in training: it shows objects as large as those tiles do, or more."""
    side_px = median_side_px(coco, input_wh)
    low, high = SCALES
    return low if not side_px else min(high, max(low, SCALE_MARGIN * MEDIAN_PX / side_px))
