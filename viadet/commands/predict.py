"""`viadet predict`: detect objects in images with a model folder alone."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click

from viadet.commands.interrupts import interrupts_handled
from viadet.project.counting import counted, first_names
from viadet.project.errors import INTERRUPTED, UserError
from viadet.project.files import replaced_file

if TYPE_CHECKING:
    from concurrent.futures import Future

    from viadet.detection.detector import Detector
    from viadet.inference.image_files import ImageFiles
    from viadet.inference.records import ImageRecord

PICTURES_BEHIND = 32  # that are not drawn yet when the network goes on


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
    from viadet.detection.detector import load_detector
    from viadet.inference.image_files import PICTURES_NAME, find_image_files
    from viadet.inference.via_files import class_attribute
    from viadet.inference.worker_pool import workers_for
    from viadet.network.device import keep_freed_memory, pick_device

    files = find_image_files(images)
    if files.left_out:
        print(f"left out {counted(files.left_out, 'picture')} of earlier predictions")
    chosen = pick_device(device)
    keep_freed_memory()
    detector = load_detector(model, chosen, size, views)
    categories = list(detector.categories)
    sizes = ", ".join(dict.fromkeys(f"{width} x {height} px" for (width, height), _ in detector.views))
    print(f"{detector.plain_network.spec.name} at {sizes} on {chosen}, classes: {', '.join(categories)}")
    threshold = detector.settings.score_threshold if threshold is None else threshold
    attribute = class_attribute(categories, attribute)
    workers = workers_for(len(files.names), detector.device) if workers is None else workers
    with deferred_interrupt() as interrupt, new_folder(out):
        records, errors, killed = detect_all(detector, files, threshold, out / PICTURES_NAME, workers, interrupt)
        if records:
            write_tables(out, files.root, records, categories, attribute, unsure)

    done, count = len(records), counted(len(files.names), "image")
    place = f"{out} has the detections of {done} of {count}" if done else "nothing was written"
    if killed:
        raise UserError(f"a worker process was killed, perhaps for lack of memory; use fewer --workers; {place}")
    if done + len(errors) < len(files.names):
        print(f"predict: interrupted; {place}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    if errors:
        raise UserError(f"{counted(len(errors), 'image')} left out: {first_names(errors)}; {place}")
    print(f"{place}; VIA 2 opens {out / 'via_project.json'}")


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
    threshold: float,
    pictures_dir: Path,
    workers: int,
    interrupt: threading.Event,
) -> tuple[list[ImageRecord], list[str], bool]:
    """Detect in all images, or until interrupted, and draw a picture of each that can be read.

    Returns:
        Their records, the errors of the others, and whether a worker process was killed before the last image.
    """
    from tqdm import tqdm

    from viadet.inference.records import ImageRecord, unsureness
    from viadet.inference.worker_pool import worker_pool
    from viadet.pictures.detections import save_prediction
    from viadet.pictures.drawing import picture_names

    pictures = picture_names({"images": [{"id": name, "file_name": name} for name in files.names]})
    records, errors = [], []
    drawing: deque[Future] = deque()
    try:
        with worker_pool(workers) as pool:
            found = zip(files.names, files.paths, detector.detect_ahead(files.paths, detector.views, pool), strict=True)
            for name, path, image in tqdm(found, total=len(files.names), unit="img", desc="predict"):
                if isinstance(image, UserError):
                    errors.append(str(image))
                    tqdm.write(f"left out: {image}", file=sys.stderr)
                else:
                    merged = detector.merge(image.by_view)
                    kept, measure = merged.above(threshold), unsureness(merged.scores.tolist())
                    records.append(ImageRecord(name, path.stat().st_size, image.size_wh, kept, measure))
                    pictures_dir.mkdir(exist_ok=True)
                    picture_path = pictures_dir / pictures[name]
                    drawing.append(pool.submit(save_prediction, path, image.size_wh, kept, picture_path))
                if len(drawing) > PICTURES_BEHIND:
                    drawing.popleft().result()
                if interrupt.is_set():
                    break
            for picture in drawing:
                picture.result()
    except BrokenExecutor:
        return records, errors, True
    return records, errors, False


def write_tables(
    out: Path, root: Path, records: list[ImageRecord], categories: list[str], attribute: str | None, unsure: int | None
) -> None:
    """Write all but the pictures; `root` is the folder of the images."""
    from viadet.inference.records import coco_images, coco_results, write_detections_csv, write_unsure_csv
    from viadet.inference.via_files import via_project, via_regions

    def write(name: str, document: dict | list) -> None:
        with replaced_file(out / name) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            json.dump(document, file, indent=1)
            file.write("\n")

    write("coco_images.json", coco_images(records, categories))
    write("coco_results.json", coco_results(records))
    write_detections_csv(out / "detections.csv", records)
    regions = via_regions(records, attribute)
    write("via_regions.json", regions)
    write("via_project.json", via_project("via_project", root, regions, categories, attribute))
    if unsure:
        least_sure = sorted(records, key=lambda record: record.unsureness, reverse=True)[:unsure]
        write_unsure_csv(out / "unsure.csv", least_sure)
        regions = via_regions(least_sure, attribute)
        write("unsure_via_project.json", via_project("unsure_via_project", root, regions, categories, attribute))
