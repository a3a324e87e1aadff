"""The images that benchmarks run on: given ones, or balloons rendered here, so that no data is needed."""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from viadet.annotations.coco import ConvertedImage, box_and_outline, by_image, to_coco
from viadet.project.files import read_json, write_json
from viadet.sample.render import render_image


class Images(NamedTuple):
    """Annotated images, and a folder for what a benchmark writes."""

    folder: Path
    coco: Path  # file names are relative to the folder
    work_dir: Path


def add_image_option(parser: argparse.ArgumentParser) -> None:
    """Add the option of benchmarks that need images."""
    parser.add_argument(
        "--images",
        nargs=2,
        type=Path,
        metavar=("FOLDER", "COCO"),
        help="folder and COCO file, such as data/raw data/coco/train.json; default: rendered images",
    )


def add_cpu_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of benchmarks that need images and run on the CPU."""
    add_image_option(parser)
    parser.add_argument("--threads", type=int, default=2, help="of torch; default 2")


@contextmanager
def benchmark_images(given: list[Path] | None, count: int, side: int) -> Iterator[Images]:
    """Provide images within the block.

    Args:
        given: folder and COCO file, of which the first images are taken; None: images are rendered.
        count: number of images; fewer if fewer are given.
        side: px, the longer side of rendered images.
    """
    with tempfile.TemporaryDirectory() as name:
        work_dir = Path(name)
        folder = given[0].absolute() if given else work_dir
        coco = first_images(read_json(given[1]), count) if given else render_images(folder, count, side)
        write_json(work_dir / "coco.json", coco)
        yield Images(folder, work_dir / "coco.json", work_dir)


def check_count(parser: argparse.ArgumentParser, images: Images, batch_size: int) -> None:
    """End the command if given images do not fill a batch."""
    if len(read_json(images.coco)["images"]) < batch_size:
        parser.error(f"--images has fewer images than a batch, {batch_size}")


def first_images(coco: dict, count: int) -> dict:
    """Keep the first images of a COCO data set, with their annotations."""
    images, annotations = coco["images"][:count], by_image(coco["annotations"])
    return coco | {"images": images, "annotations": [entry for image in images for entry in annotations[image["id"]]]}


def render_images(folder: Path, count: int, side: int) -> dict:
    """Render balloons as JPEGs into a folder; returns their COCO data set."""
    converted = []
    for number in range(count):
        picture, polygons = render_image(np.random.default_rng([0, number]), side)
        picture.save(folder / f"{number:04d}.jpg", quality=92)
        entry = {"file_name": f"{number:04d}.jpg", "width": picture.width, "height": picture.height}
        boxes = [box_and_outline([tuple(point) for point in polygon.tolist()]) for polygon in polygons]
        converted.append(ConvertedImage(entry, [box | {"category_id": 1} for box in boxes]))
    return to_coco(converted, ["balloon"])


def describe_images(given: list[Path] | None) -> str:
    """Tell for the results which images were used, without their place."""
    return f"the first of {given[1].name}" if given else "rendered"
