"""Rendered balloons of several classes, each with a number of objects: plain ones, and white patterns painted on."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from viadet.annotations.coco import ConvertedImage, box_and_outline, to_coco
from viadet.images.polygons import polygon_mask
from viadet.sample.render import JPEG_QUALITY, render_image

MIN_PATTERN_SIDE = 0.1  # shorter side of a balloon, as a share of the image's longer one; smaller ones stay plain
PAINT = 0.75  # opacity of the white
STRIPES, DOTS = 5, 4  # over the height of a balloon: bands, of which each second one is white; rows of dots
DOT_RADIUS = 0.3  # as a share of the distance between two dots

Polygon = NDArray[np.int64]  # [points, 2], x and y in px
Pattern = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.bool_]]


def striped(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark what is white of horizontal stripes; x and y are of pixels, in heights of the balloon from its corner."""
    return (y * STRIPES).astype(int) % 2 + 0 * x == 1


def dotted(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark what is white of a grid of dots, as `striped`."""
    return (x * DOTS % 1 - 0.5) ** 2 + (y * DOTS % 1 - 0.5) ** 2 < DOT_RADIUS**2


PATTERNS: dict[str, Pattern] = {"striped": striped, "dotted": dotted}  # a class without a pattern is plain


def paint(picture: Image.Image, polygons: list[Polygon], classes: list[str]) -> Image.Image:
    """Paint each balloon as its class demands, where no other one is before it; balloons are from back to front."""
    pixels = np.array(picture, np.float32)
    height, width = pixels.shape[:2]
    covered = np.zeros((height, width), bool)
    for polygon, name in list(zip(polygons, classes, strict=True))[::-1]:
        body = polygon_mask(polygon, width, height)
        if name in PATTERNS:
            left, top = polygon.min(0)
            size = max(1, np.ptp(polygon[:, 1]))
            x, y = (np.arange(width) - left) / size, (np.arange(height)[:, None] - top) / size
            white = body & ~covered & PATTERNS[name](x, y)
            pixels[white] = (1 - PAINT) * pixels[white] + PAINT * 255
        covered |= body
    return Image.fromarray(pixels.astype(np.uint8))


def render_classes(folder: Path, counts: dict[str, int], image_size: int, seed: tuple[int, ...]) -> dict:
    """Render JPEGs with just so many balloons of each class into an empty folder.

    Which balloons have a pattern is random, among those large enough to show it.

    Args:
        folder: of the images.
        counts: objects by class; one class, which takes all others, is plain.
        image_size: px, the longer side of every image.
        seed: of images and classes.

    Returns:
        Their COCO data set.
    """
    rendered = _render_objects(sum(counts.values()), image_size, seed)
    (plain,) = counts.keys() - PATTERNS.keys()
    classes = [[plain] * len(polygons) for _, polygons in rendered]
    large = [
        (image, index)
        for image, (_, polygons) in enumerate(rendered)
        for index, polygon in enumerate(polygons)
        if np.ptp(polygon, 0).min() >= MIN_PATTERN_SIDE * image_size
    ]
    patterns = [name for name, count in counts.items() if name != plain for _ in range(count)]
    chosen = np.random.default_rng(seed).permutation(len(large))[: len(patterns)]
    for name, number in zip(patterns, chosen, strict=True):
        image, index = large[number]
        classes[image][index] = name
    converted = []
    for number, ((picture, polygons), names) in enumerate(zip(rendered, classes, strict=True)):
        ids = [1 + list(counts).index(name) for name in names]
        path = folder / f"{number:04d}.jpg"
        converted.append(save_annotated(path, paint(picture, polygons, names), polygons, ids))
    return to_coco(converted, list(counts))


def save_annotated(
    path: Path, picture: Image.Image, outlines: Sequence[NDArray], category_ids: Sequence[int]
) -> ConvertedImage:
    """Save a picture as JPEG, and describe it with its objects, whose outlines are [points, 2] in px of it."""
    picture.save(path, quality=JPEG_QUALITY)
    boxes = [box_and_outline([tuple(point) for point in outline.tolist()]) for outline in outlines]
    annotations = [box | {"category_id": id_} for box, id_ in zip(boxes, category_ids, strict=True)]
    return ConvertedImage({"file_name": path.name, "width": picture.width, "height": picture.height}, annotations)


def _render_objects(count: int, image_size: int, seed: tuple[int, ...]) -> list[tuple[Image.Image, list[Polygon]]]:
    """Render images with just so many balloons, leaving out an image that would have too many."""
    rendered, number = [], 0
    while count:
        picture, polygons = render_image(np.random.default_rng([*seed, number]), image_size)
        if len(polygons) <= count:
            rendered.append((picture, polygons))
            count -= len(polygons)
        number += 1
    return rendered
