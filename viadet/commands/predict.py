"""`viadet predict`: detect objects in images with a model folder alone."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from viadet.commands.interrupts import interrupts_handled
from viadet.project.counting import counted
from viadet.project.errors import INTERRUPTED, UserError

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from viadet.detection.detections import Detections
    from viadet.detection.detector import Detector
    from viadet.inference.image_files import ImageFiles
    from viadet.inference.records import ImageRecord, Records

SHOWN_ERRORS = 10
PICTURES_BEHIND = 32  # that are not drawn yet when the network goes on


class Problems(NamedTuple):
    """What kept images from being detected in."""

    errors: list[str]  # of images that could not be read
    stopped: str | None  # why it ended before the last image


@click.command(short_help="Detect objects in images.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE|FOLDER|GLOB...")
@click.option("--model", type=click.Path(path_type=Path), default="data/model", show_default=True, help="Model folder.")
@click.option("--out", type=click.Path(path_type=Path), default="predictions", show_default=True, help="New folder.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Least score.  [default: as evaluated, or 0.4]")
@click.option("--size", type=int, help="Longer side of the network's input, px.  [default: as evaluated, or trained]")
@click.option("--views", is_flag=True, help="Merge several scales, plain and mirrored: slower, more accurate.")
@click.option("--unsure", type=click.IntRange(1), help="Also list this many images, the least sure first.")
@click.option("--attribute", help="VIA's attribute for the category.  [default: category; none if there is only one]")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
@click.option("--workers", type=click.IntRange(0, 64), help="Processes that decode and draw.  [default: by device]")
def predict(
    images: tuple[str, ...],
    model: Path,
    out: Path,
    threshold: float | None,
    size: int | None,
    views: bool,
    unsure: int | None,
    attribute: str | None,
    device: str,
    workers: int | None,
) -> None:
    """Detect objects in images; a folder stands for all images in it, at any depth.

    \b
    Reads   the model folder and the images
    Writes  into OUT, for detections of at least the threshold:
            pictures/, detections.csv, coco_results.json (and coco_images.json),
            via_project.json and via_regions.json, which VIA 2 opens;
            with --unsure: unsure.csv and unsure_via_project.json

    \b
    Examples
      viadet predict photographs --model data/model
      viadet predict 'photographs/**/*.jpg' --views --unsure 50 --out to_correct
    """
    from viadet.inference.file_detection import worker_pool, workers_for
    from viadet.inference.image_files import PICTURES_NAME
    from viadet.inference.records import Records

    files = find_images(images)
    detector = load_on_device(model, device, size, views)
    threshold = detector.settings.score_threshold if threshold is None else threshold
    attribute = checked_attribute(attribute, list(detector.categories))
    workers = workers_for(len(files.names), detector.device) if workers is None else workers
    with deferred_interrupt() as interrupt, new_folder(out), Records(out) as records:
        with worker_pool(workers) as pool:
            problems = detect_all(detector, files, records, threshold, out / PICTURES_NAME, pool, interrupt)
        write_tables(out, files.root, records, list(detector.categories), attribute, unsure)
    report(out, len(records), len(files.names), problems)


def find_images(arguments: tuple[str, ...]) -> ImageFiles:
    """Find the images, and say how many are left out as pictures of earlier predictions.

    Raises:
        UserError: arguments give no image.
    """
    from viadet.inference.image_files import find_image_files

    files = find_image_files(arguments)
    if files.left_out:
        print(f"left out {counted(files.left_out, 'picture')} of earlier predictions")
    return files


def load_on_device(model: Path, device: str, size: int | None, views: bool) -> Detector:
    """Load the detector, with the algorithms that give the same bytes again.

    Raises:
        UserError: there is no such device, or the model folder or the size is bad.
    """
    from viadet.detection.detector import load_detector
    from viadet.network.device import keep_freed_memory, pick_device

    chosen = pick_device(device)
    keep_freed_memory()
    detector = load_detector(model, chosen, size, views)
    sizes = ", ".join(dict.fromkeys(f"{width} x {height} px" for (width, height), _ in detector.views))
    print(f"{detector.plain_network.spec.name} at {sizes} on {chosen}, classes: {', '.join(detector.categories)}")
    return detector


def checked_attribute(attribute: str | None, categories: list[str]) -> str | None:
    """Choose the region attribute for the category.

    Raises:
        UserError: it is the attribute of the score.
    """
    from viadet.annotations.categories import SCORE_ATTRIBUTE
    from viadet.inference.via_files import class_attribute

    if attribute == SCORE_ATTRIBUTE:
        raise UserError(f"--attribute is {attribute}, which holds the score; name another")
    return class_attribute(categories, attribute)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """Make an empty folder; if the block ends with an error, or leaves nothing in it, it is as before.

    Raises:
        UserError: it exists with something in it, such as corrections of an earlier prediction.
    """
    existed = path.is_dir()
    if path.exists() and (not existed or any(path.iterdir())):
        raise UserError(f"{path} exists and is not an empty folder; name another with --out, or delete it")
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for content in path.iterdir():
            shutil.rmtree(content) if content.is_dir() else content.unlink()
        raise
    finally:
        if not existed and not any(path.iterdir()):
            path.rmdir()


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[threading.Event]:
    """Turn Ctrl-C or SIGTERM into an event, so that what is done can be written; a second one interrupts at once."""
    event = threading.Event()

    def handle(number: int, frame: object) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    with interrupts_handled(handle):
        yield event


def detect_all(
    detector: Detector,
    files: ImageFiles,
    records: Records,
    threshold: float,
    pictures_dir: Path,
    pool: Executor,
    interrupt: threading.Event,
) -> Problems:
    """Detect in all images, or until interrupted; adds a record and a picture for each that can be read."""
    from tqdm import tqdm

    from viadet.pictures.detections import save_prediction
    from viadet.pictures.drawing import picture_names

    pictures = picture_names({"images": [{"id": name, "file_name": name} for name in files.names]})
    errors: list[str] = []
    drawing: deque[Future] = deque()
    found = detector.detect_ahead(files.paths, detector.views, pool)
    try:
        with tqdm(total=len(files.names), unit="img", desc="predict") as bar:
            for name, path, image in zip(files.names, files.paths, found, strict=True):
                if isinstance(image, UserError):
                    errors.append(str(image))
                    bar.write(f"left out: {image}", file=sys.stderr)
                else:
                    detections = detector.merge(image.by_view)
                    records.add(record_of(name, path, image.size_wh, detections, threshold))
                    pictures_dir.mkdir(exist_ok=True)
                    task = (path, image.size_wh, detections.above(threshold), pictures_dir / pictures[name])
                    drawing.append(pool.submit(save_prediction, *task))
                bar.update()
                wait_for(drawing, PICTURES_BEHIND)
                if interrupt.is_set():
                    break
        wait_for(drawing, 0)
    except BrokenExecutor:
        return Problems(errors, "a worker process was killed, perhaps for lack of memory; use fewer --workers")
    return Problems(errors, "interrupted" if len(errors) + len(records) < len(files.names) else None)


def record_of(name: str, path: Path, size_wh: tuple[int, int], detections: Detections, threshold: float) -> ImageRecord:
    """Make the record of an image of `size_wh` px, with its detections of at least the threshold."""
    from viadet.inference.unsure import unsureness

    width, height = size_wh
    return {
        "file_name": name,
        "bytes": path.stat().st_size,
        "width": width,
        "height": height,
        "unsureness": unsureness(detections.scores.tolist()),
        "results": detections.above(threshold).rows(),
    }


def wait_for(futures: deque[Future], left: int) -> None:
    """Wait for the first of the futures until so many are left; an error of one is raised."""
    while len(futures) > left:
        futures.popleft().result()


def write_tables(
    out: Path, root: Path, records: Records, categories: list[str], attribute: str | None, unsure: int | None
) -> None:
    """Write all but the pictures; without any record nothing."""
    from viadet.inference.records import write_coco, write_detections_csv, write_unsure_csv
    from viadet.inference.unsure import least_sure
    from viadet.inference.via_files import write_via_project, write_via_regions

    if not len(records):
        return
    write_coco(out, records, categories)
    write_detections_csv(out / "detections.csv", records, categories)
    write_via_project(out / "via_project.json", root, records.read(), categories, attribute)
    write_via_regions(out / "via_regions.json", records.read(), categories, attribute)
    if unsure:
        numbers = least_sure((record["unsureness"] for record in records.read()), unsure)
        write_unsure_csv(out / "unsure.csv", records, numbers)
        write_via_project(out / "unsure_via_project.json", root, records.read(numbers), categories, attribute)


def report(out: Path, done: int, images: int, problems: Problems) -> None:
    """Say where the detections are, and end with an error if images are missing among them.

    Raises:
        UserError: images could not be read, or a worker process was killed.
    """
    place = f"{out} has the detections of {done} of {counted(images, 'image')}" if done else "nothing was written"
    if problems.stopped == "interrupted":
        print(f"predict: interrupted; {place}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    if problems.stopped:
        raise UserError(f"{problems.stopped}; {place}")
    if errors := problems.errors:
        more = f"; and {len(errors) - SHOWN_ERRORS} more" if len(errors) > SHOWN_ERRORS else ""
        listed = "; ".join(errors[:SHOWN_ERRORS])
        raise UserError(f"{counted(len(errors), 'image')} left out: {listed}{more}; {place}")
    print(f"{place}; VIA 2 opens {out / 'via_project.json'}")
