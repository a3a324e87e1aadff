"""The page of suspects: a crop of each with what is annotated and what the detector sees; it needs no network."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from viadet.images.decoding import decode_image
from viadet.pictures.pages import picture_uri, render_template

ANNOTATION, DETECTION = "#00d000", "#ff8c00"  # as in other pictures
CROP_PX = 320  # side of a crop
SHOWN_AROUND = 0.5  # of the longer side of what is shown, on each side of it
LEAST_AROUND_PX = 24  # of the photograph
JPEG_QUALITY = 85

Box = tuple[float, float, float, float]  # xyxy, px of the upright image


class ShownSuspect(NamedTuple):
    """A suspect as the page shows it."""

    kind: str
    score: float
    text: str  # what to think of it
    place: str  # image and region
    path: Path  # of the image
    annotated: Box | None
    detected: Box | None
    others: Sequence[Box]  # that are annotated in the image, too


def render_suspects(origin: str, summary: str, suspects: Sequence[ShownSuspect]) -> str:
    """Render the page as HTML; each image is decoded once.

    Raises:
        FileError: an image can't be read any more.
    """
    uris: dict[int, str] = {}
    for path in dict.fromkeys(suspect.path for suspect in suspects):
        image = decode_image(path)
        uris |= {place: draw_crop(image, own) for place, own in enumerate(suspects) if own.path == path}
    return render_template(
        "suspects.html",
        origin=origin,
        summary=summary,
        colours={"annotation": ANNOTATION, "detection": DETECTION},
        suspects=[
            {"uri": uris[place], "score": f"{own.score:.2f}", "kind": own.kind, "text": own.text, "place": own.place}
            for place, own in enumerate(suspects)
        ],
    )


def draw_crop(image: Image.Image, suspect: ShownSuspect) -> str:
    """Draw the surroundings of a suspect, as a data URI of a JPEG."""
    boxes_xyxy = [box for box in (suspect.annotated, suspect.detected) if box is not None]
    lows, highs = zip(*((box[:2], box[2:]) for box in boxes_xyxy), strict=True)
    left, top = (min(values) for values in zip(*lows, strict=True))
    right, bottom = (max(values) for values in zip(*highs, strict=True))
    half = max(right - left, bottom - top) * (0.5 + SHOWN_AROUND)
    half = max(half, max(right - left, bottom - top) / 2 + LEAST_AROUND_PX)
    centre_x, centre_y = (left + right) / 2, (top + bottom) / 2
    x0, y0 = max(0, round(centre_x - half)), max(0, round(centre_y - half))
    x1, y1 = min(image.width, round(centre_x + half)), min(image.height, round(centre_y + half))
    scale = CROP_PX / max(x1 - x0, y1 - y0)
    size_wh = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
    crop = image.resize(size_wh, Image.Resampling.BICUBIC, (x0, y0, x1, y1), reducing_gap=2.0)
    drawing = ImageDraw.Draw(crop)

    def outline(box_xyxy: Box, colour: str, width: int) -> None:
        placed = [(value - start) * scale for value, start in zip(box_xyxy, (x0, y0, x0, y0), strict=True)]
        drawing.rectangle(placed, outline=colour, width=width)

    for box_xyxy in suspect.others:
        outline(box_xyxy, ANNOTATION, 1)
    if suspect.annotated is not None:
        outline(suspect.annotated, ANNOTATION, 4)
    if suspect.detected is not None:
        outline(suspect.detected, DETECTION, 3)
    file = io.BytesIO()
    crop.save(file, "JPEG", quality=JPEG_QUALITY)
    return picture_uri(file.getvalue(), "image/jpeg")
