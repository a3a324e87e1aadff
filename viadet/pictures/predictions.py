"""Pictures of detections in images without ground truth."""

from pathlib import Path

from viadet.detection.detections import Detections
from viadet.images.pixels import read_image
from viadet.pictures.detections import draw_detections
from viadet.pictures.drawing import DPI, cell_wh_inches, new_figure, show_image, write_figure
from viadet.project.files import replaced_file

LONGER_SIDE_PX = 1024  # of a picture's photograph


def save_prediction(image_path: Path, size_wh: tuple[int, int], detections: Detections, path: Path) -> None:
    """Draw an image with its detections into a new JPEG.

    Args:
        image_path: of the photograph.
        size_wh: px of the upright photograph.
        detections: all are drawn; if there are several categories, each has its colour.
        path: of the picture.
    """
    image = read_image(image_path, LONGER_SIDE_PX)
    figure, (ax,) = new_figure(1, 1, cell_wh_inches(image, LONGER_SIDE_PX / DPI))
    show_image(ax, image, f"{image_path.name}, detections: {len(detections)}", size_wh)
    draw_detections(ax, detections)
    with replaced_file(path, flush=False) as temporary:
        write_figure(figure, temporary, path.suffix)
