"""Parts of all pictures: cells, photographs, boxes, polygons, heat maps; equal pictures are equal files."""

import re
import warnings
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torchvision.transforms.v2.functional import rgb_to_grayscale

from viadet.project.files import replaced_file

GROUND_TRUTH = "lime"
DETECTION = "orange"
HEAT_COLOURS = "turbo"  # matplotlib's name of the colour map
HEAT_OPACITY = 0.55  # of a heat map over its photograph
DPI = 100
JPEG_QUALITY = 88
MAX_SIDE_PX = 65_500  # of a JPEG
MIN_CELL_WIDTH_INCHES = 2.6  # room for a title beside those of its neighbours, however narrow the photograph
TITLE_INCHES = 0.3
GAP_INCHES = 0.08
CHARACTER_PX2 = 72  # what a character of a label hides: 6 x 12 px
MAX_LABELS_SHARE = 0.15  # of the image, that labels may hide
LINE_SHARE = 0.035  # points of a line's width by px of the side of the room that a box has
DARK = 0.4  # luminance below which text on a colour is white
MAX_STEM_BYTES = 120  # of a picture's name; Windows allows 260 characters for its whole path
STEM_START_BYTES, STEM_END_BYTES = 40, 77  # that are kept of a longer one: most names differ at the end
REFUSED_BY_WINDOWS = re.compile(r'[<>:"|?*\\\x00-\x1f]')  # in names
WINDOWS_DEVICE = re.compile(r"^(con|prn|aux|nul|(?:com|lpt)[0-9])(?=\s*(\.|$))", re.IGNORECASE)  # whatever its suffix


def new_figure(
    columns: int, rows: int, cell_wh_inches: tuple[float, float], heading: str = ""
) -> tuple[Figure, np.ndarray]:
    """Make a figure of equal cells without axis lines, each with room for a title of one line.

    Returns:
        The figure and its axes, row by row, [rows * columns].
    """
    width, height = max(cell_wh_inches[0], MIN_CELL_WIDTH_INCHES), cell_wh_inches[1]
    top = TITLE_INCHES + GAP_INCHES if heading else 0.0
    step_x, step_y = width + GAP_INCHES, height + TITLE_INCHES
    total_width, total_height = columns * step_x + GAP_INCHES, top + rows * step_y + GAP_INCHES
    figure = Figure(figsize=(total_width, total_height), dpi=DPI)
    if heading:
        place = (0.5, 1 - TITLE_INCHES / 2 / total_height)
        figure.text(*place, drawable(heading), fontsize=13, ha="center", va="center")
    axes = []
    for row in range(rows):
        for column in range(columns):
            left, bottom = GAP_INCHES + column * step_x, total_height - top - (row + 1) * step_y
            cell = (left / total_width, bottom / total_height, width / total_width, height / total_height)
            axes.append(figure.add_axes(cell))
            axes[-1].set_axis_off()
    return figure, np.array(axes)


def cell_wh_inches(image: torch.Tensor, longer_side_inches: float) -> tuple[float, float]:
    """Compute the width and height of a cell, in inches, with the proportions of an image [3, H, W]."""
    _, height, width = image.shape
    scale = longer_side_inches / max(width, height)
    return scale * width, scale * height


def show_image(ax: Axes, image: torch.Tensor, title: str = "", size_wh: tuple[int, int] | None = None) -> None:
    """Show an image, uint8 [3, H, W], with a title above; the axes get its px coordinates, (0, 0) at the upper left.

    If the image is reduced from a photograph of `size_wh` px, they get the photograph's coordinates.
    """
    width, height = size_wh or (image.shape[2], image.shape[1])
    ax.imshow(image.permute(1, 2, 0).numpy(), extent=(0, width, height, 0), interpolation="antialiased")
    ax.set(xlim=(0, width), ylim=(height, 0))
    inches = ax.get_position().width * ax.figure.get_figwidth()
    font_size = min(11, 140 * inches / max(1, len(title)))  # small enough for a long title to fit
    ax.set_title(drawable(title), fontsize=font_size, parse_math=False)


def drawable(text: str) -> str:
    """Escape the bytes of a file's name that are not UTF-8, as on a terminal: matplotlib fails on them."""
    return text.encode(errors="backslashreplace").decode()


def show_heat(
    ax: Axes, heat: np.ndarray, low_high: tuple[float, float], opacity: float = HEAT_OPACITY, colour_bar: bool = False
) -> None:
    """Lay a heat map [H, W], in px of the image, over the image of the axes.

    The first and the last colour stand for `low_high`, which a colour bar shows over the lower edge.
    """
    low, high = low_high
    height, width = heat.shape
    shown = ax.imshow(
        heat,
        cmap=HEAT_COLOURS,
        alpha=opacity,
        vmin=low,
        vmax=high if high > low else low + 1.0,  # the colour bar would centre an empty range on a constant map
        extent=(0, width, height, 0),
        interpolation="antialiased",
    )
    ax.set(xlim=(0, width), ylim=(height, 0))
    if colour_bar:
        bar = ax.figure.colorbar(shown, cax=ax.inset_axes((0.05, 0.05, 0.9, 0.04)), orientation="horizontal")
        bar.set_ticks([low, high], labels=[f"{low:.3g}", f"{high:.3g}"])
        bar.ax.tick_params(length=0, labelsize=8, labelcolor="white", labeltop=True, labelbottom=False, pad=1)
        for text, side in zip(bar.ax.get_xticklabels(), ("left", "right"), strict=True):
            text.set_horizontalalignment(side)


def grey_image(image: torch.Tensor) -> torch.Tensor:
    """Convert a photograph to grey, uint8 [3, H, W], so that under a heat map all colour comes from the map."""
    return rgb_to_grayscale(image, num_output_channels=3)


def mark_cell(ax: Axes, colour: str) -> None:
    """Draw a thick frame around a cell."""
    frame = Rectangle((0, 0), 1, 1, transform=ax.transAxes, fill=False, edgecolor=colour, linewidth=4, clip_on=False)
    ax.add_patch(frame)


def draw_boxes(
    ax: Axes,
    boxes_xyxy: np.ndarray | torch.Tensor,
    colours: str | list[str],
    names: list[str] | None = None,
    scores: list[float] | None = None,
    line_width: float = 2.0,
    dashed: bool = False,
) -> None:
    """Draw boxes [N, 4], in px of the image of the axes, in one colour or one for each.

    Names, scores or both label them at upper corners. A label extends towards the middle of the image, so that it is
    not cut off at an edge. Where labels would hide much of the image, the first box of each name is the only one with
    a label; where boxes are many, lines are thinner.
    """
    right, bottom = ax.get_xlim()[1], ax.get_ylim()[0]
    colours = [colours] * len(boxes_xyxy) if isinstance(colours, str) else colours
    labels = _labels_with_room(ax, names or [""] * len(boxes_xyxy), scores)
    style = {"fill": False, "linewidth": thinned(ax, len(boxes_xyxy), line_width), "linestyle": "--" if dashed else "-"}
    for (x0, y0, x1, y1), colour, label in zip(boxes_xyxy.tolist(), colours, labels, strict=True):
        ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, edgecolor=colour, **style))
        if label:
            at_left_corner = x0 <= right / 2
            ax.text(
                x0 if at_left_corner else x1,
                y0,
                label,
                fontsize=7,
                color="white" if _luminance(colour) < DARK else "black",
                parse_math=False,
                horizontalalignment="left" if at_left_corner else "right",
                verticalalignment="top" if y0 <= 0.9 * bottom else "bottom",
                clip_on=True,
                bbox={"facecolor": colour, "alpha": 0.7, "pad": 1, "linewidth": 0},
            )


def _labels_with_room(ax: Axes, names: list[str], scores: list[float] | None) -> list[str]:
    """Write the label of each box, or an empty one for all but the first of each name where labels would hide much."""
    suffixes = [""] * len(names) if scores is None else [f" {score:.2f}" for score in scores]
    labels = [f"{name}{suffix}".strip() for name, suffix in zip(names, suffixes, strict=True)]
    if sum(map(len, labels)) * CHARACTER_PX2 <= MAX_LABELS_SHARE * _image_px2(ax):
        return labels
    first = {name: index for index, name in reversed(list(enumerate(names)))}
    return [
        label if first[name] == index else "" for index, (name, label) in enumerate(zip(names, labels, strict=True))
    ]


def thinned(ax: Axes, count: int, line_width: float) -> float:
    """Compute the width of the lines of so many boxes or polygons, in points: thinner where each has little room."""
    return min(line_width, LINE_SHARE * (_image_px2(ax) / max(1, count)) ** 0.5)


def _image_px2(ax: Axes) -> float:
    """Compute the area of the image of the axes in the picture, px²."""
    cell, width, height = ax.get_window_extent(), ax.get_xlim()[1], ax.get_ylim()[0]
    return min(cell.width / width, cell.height / height) ** 2 * width * height


def _luminance(colour: str) -> float:
    """Compute how bright a colour is, 0 to 1 (ITU-R BT.601)."""
    return float(np.dot(to_rgb(colour), (0.299, 0.587, 0.114)))


def draw_polygons(ax: Axes, polygons: list[torch.Tensor], colours: str | list[str]) -> None:
    """Draw polygons, [points, 2] each as x and y, in px of the image of the axes, in one colour or one for each."""
    outlines, width = [polygon.numpy() for polygon in polygons], thinned(ax, len(polygons), 1.0)
    ax.add_collection(PolyCollection(outlines, facecolors="none", edgecolors=colours, linewidths=width))


def picture_names(coco: dict) -> dict[int, str]:
    """Name the picture of each image of a COCO data set, by image id: `val_1.jpg` for `val/1.jpg`.

    No two images share one, on systems that ignore case either: the second is `val_1-2.jpg`. What Windows refuses
    in a name becomes `_`; of a long one, beginning and end are kept. `dvc plots diff` fails on a folder in which some
    names are numbers and others are not; the folder's name before them avoids that.
    """
    names: dict[int, str] = {}
    taken: set[str] = set()
    numbers: dict[str, int] = {}  # the last one of each stem
    for image in coco["images"]:
        stem = image["file_name"].removesuffix(".jpg").replace("/", "_")
        stem = WINDOWS_DEVICE.sub(r"\1_", REFUSED_BY_WINDOWS.sub("_", stem))
        encoded = stem.encode(errors="surrogateescape")
        if len(encoded) > MAX_STEM_BYTES:
            encoded = encoded[:STEM_START_BYTES] + b"..." + encoded[-STEM_END_BYTES:]
        stem = encoded.decode(errors="ignore")
        name, number = f"{stem}.jpg", numbers.get(stem.casefold(), 1)
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}.jpg"
        numbers[stem.casefold()] = number
        names[image["id"]] = name
        taken.add(name.casefold())
    return names


def save_figure(figure: Figure, path: Path, flush: bool = True) -> None:
    """Write a PNG or JPEG, as its name ends; matplotlib's version is left out, so that equal pictures are equal files.

    A figure of more px than a JPEG can have is written smaller.

    Args:
        figure: to write; it is empty then, as its photographs would stay in memory until Python looks for cycles.
        path: of the file.
        flush: as for `replaced_file`.
    """
    options = {"metadata": {"Software": None}} if path.suffix == ".png" else {"pil_kwargs": {"quality": JPEG_QUALITY}}
    options["dpi"] = min(DPI, MAX_SIDE_PX / max(figure.get_size_inches()))
    with replaced_file(path, flush) as temporary, warnings.catch_warnings():
        # The font lacks some scripts: it shows boxes instead, and a warning for each sign would fill the screen.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(temporary, format=path.suffix.removeprefix("."), **options)
    figure.clear()
