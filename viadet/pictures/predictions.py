"""Pictures of detections in images without ground truth."""

from pathlib import Path

from viadet.images.pixels import read_image
from viadet.network.boxes import boxes_xyxy_of
from viadet.pictures.classes import class_colours, class_names
from viadet.pictures.drawing import (
    DETECTION,
    DPI,
    cell_wh_inches,
    draw_boxes,
    new_figure,
    show_image,
    write_figure,
)
from viadet.project.files import replaced_file

LONGER_SIDE_PX = 1024  # of a picture's photograph


def save_prediction(
    image_path: Path, size_wh: tuple[int, int], results: list[dict], names: dict[int, str], path: Path
) -> None:
    """Draw an image with its detections into a new JPEG.

    Args:
        image_path: of the photograph.
        size_wh: px of the upright photograph.
        results: in COCO's results format, boxes in px of the photograph.
        names: of all categories, by id. If there are several, each has its colour.
        path: of the picture.
    """
    image = read_image(image_path, LONGER_SIDE_PX)
    figure, (ax,) = new_figure(1, 1, cell_wh_inches(image, LONGER_SIDE_PX / DPI))
    show_image(ax, image, f"{image_path.name}, detections: {len(results)}", size_wh)
    labels = [result["category_id"] for result in results]
    prefixes = class_names(labels, names) or [""] * len(results)
    texts = [f"{prefix} {result['score']:.2f}".lstrip() for prefix, result in zip(prefixes, results, strict=True)]
    draw_boxes(ax, boxes_xyxy_of(results), class_colours(labels, names, DETECTION), texts)
    with replaced_file(path, flush=False) as temporary:
        write_figure(figure, temporary, path.suffix)
