"""`viadet predict`: detect objects in images with a model folder alone, or with several."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from viadet.commands.interrupts import interrupts_handled
from viadet.commands.options import model_option
from viadet.project.counting import counted, first_names
from viadet.project.errors import INTERRUPTED, UserError, os_error_reason
from viadet.project.files import replaced_file

if TYPE_CHECKING:
    from concurrent.futures import Future

    from viadet.detection.detector import Detector
    from viadet.inference.image_files import ImageFiles
    from viadet.inference.records import ImageRecord

PICTURES_BEHIND = 16  # that are not drawn yet when the network goes on
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
UNSURE_PROJECT = "unsure_via_project"
UNSURE_DIR = "unsure"  # with the images of that project, if they are moved


class TableParams(NamedTuple):
    """What the tables and VIA's projects are to hold, beside the detections."""

    categories: list[str]
    attribute: str | None  # VIA's, for the category
    unsure: int | None  # so many images in a project of their own
    move: bool  # these images


@click.command(short_help="Detect objects in images.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE|FOLDER|GLOB...")
@model_option("Model folder; of several, each with its --model, the detections are fused.")
@click.option("--out", type=click.Path(path_type=Path), default="predictions", show_default=True, help="New folder.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Least score.  [default: as evaluated, or 0.4]")
@click.option("--size", type=int, help="Longer side of the network's input, px.  [default: as evaluated, or trained]")
@click.option("--views", is_flag=True, help="Merge several scales, plain and mirrored: slower, more accurate.")
@click.option("--unsure", type=click.IntRange(1), help="Also list this many images, the least sure first.")
@click.option("--move", is_flag=True, help="Move the images of --unsure into OUT/unsure.")
@click.option("--attribute", help="VIA's attribute for the category.  [default: category; none if there is only one]")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
@click.option("--workers", type=click.IntRange(0, 64), help="Processes that decode and draw.  [default: by device]")
def predict(
    images: tuple[str, ...],
    models: tuple[Path, ...],
    out: Path,
    threshold: float | None,
    size: int | None,
    views: bool,
    unsure: int | None,
    move: bool,
    attribute: str | None,
    device: str,
    workers: int | None,
) -> None:
    """Detect objects in images; a folder stands for all images in it, at any depth.

    \b
    Reads   the model folders and the images
    Writes  into OUT, for detections of at least the threshold:
            pictures/, detections.csv, coco_results.json (and coco_images.json),
            via_project.json and via_regions.json, which VIA 2 opens;
            with --unsure: unsure.csv and unsure_via_project.json;
            with --move: unsure/, the images of that project, which leave
            their folder. Save the corrected project there, and move unsure/
            into data/own: it is annotated then, and is not chosen again.

    \b
    Examples
      viadet predict photographs --model data/model
      viadet predict data/own/new --views --unsure 50 --move --out round_1
      viadet predict photographs --model seed_0 --model seed_1 --model seed_2
    """
    from viadet.detection.loading import load_detector
    from viadet.inference.image_files import PICTURES_NAME, check_movable, find_image_files
    from viadet.inference.via_files import class_attribute
    from viadet.inference.worker_pool import workers_for
    from viadet.network.device import keep_freed_memory, pick_device

    if move and not unsure:
        raise UserError("--move moves the images of --unsure; say how many, such as --unsure 50")
    files = find_image_files(images)
    if move:
        check_movable(files.paths)
    if files.left_out:
        print(f"left out {counted(files.left_out, 'picture')} of earlier predictions")
    if files.unread:
        print(f"left out: {files.unread}")
    chosen = pick_device(device)
    keep_freed_memory()
    detector = load_detector(models, chosen, size, views)
    categories = list(detector.categories)
    print(f"{describe_models(models, detector)} on {chosen}, classes: {', '.join(categories)}")
    threshold = detector.settings.score_threshold if threshold is None else threshold
    params = TableParams(categories, class_attribute(categories, attribute), unsure, move)
    workers = workers_for(len(files.names), detector.device) if workers is None else workers
    with deferred_interrupt() as interrupt, new_folder(out):
        results = detect_all(detector, files, threshold, out / PICTURES_NAME, workers, interrupt)
        place = write_results(out, files, results, params)
    end_with(results, len(files.names), place)
    print(f"{place}; VIA 2 opens {out / (f'{UNSURE_PROJECT}.json' if unsure else 'via_project.json')}")


def describe_models(folders: Sequence[Path], detector: Detector) -> str:
    """Name each model folder, its network, the sizes of its inputs, and whether they are those of an evaluation."""
    from viadet.detection.settings import SETTINGS_NAME

    described = []
    for number, (folder, network) in enumerate(zip(folders, detector.models, strict=True)):
        inputs_wh = dict.fromkeys(view.input_wh for view in detector.views if view.model == number)
        sizes = ", ".join(f"{width} x {height} px" for width, height in inputs_wh)
        evaluated = (folder / SETTINGS_NAME).exists()
        origin = "" if evaluated else f" (as in training: there is no {SETTINGS_NAME} of an evaluation)"
        described.append(f"{folder}: {network.spec.name} at {sizes}{origin}")
    return "; ".join(described)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """Make an empty folder; however the block ends, what it wrote stays. If that is nothing, all is as before.

    Raises:
        UserError: it exists with something in it, such as corrections of an earlier prediction.
    """
    existed = path.is_dir()
    if path.exists() and (not existed or any(path.iterdir())):
        raise UserError(f"{path} exists and is not an empty folder; name another with --out, or delete it")
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for folder in [*path.iterdir(), *([] if existed else [path])]:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM, however many, into an event, so that what is done can be written."""
    event = threading.Event()
    with interrupts_handled(lambda number, frame: event.set()):
        yield event


@dataclass
class Results:
    """What detecting in many images gave, however it ended."""

    records: list[ImageRecord] = field(default_factory=list)  # of images with a picture
    errors: list[str] = field(default_factory=list)  # of images that were left out
    stopped: Exception | None = None  # what ended it early, such as a full disk; an interrupt is none

    def looked_at_all(self, images: int) -> bool:
        """Whether nothing ended it before the last of so many images."""
        return self.stopped is None and len(self.records) + len(self.errors) == images

    def leave_out(self, problem: UserError | str) -> None:
        """Note that an image is left out, and say so at once."""
        from tqdm import tqdm

        self.errors.append(str(problem))
        tqdm.write(f"left out: {problem}", file=sys.stderr)

    def add_when_drawn(self, path: Path, record: ImageRecord, picture: Future) -> None:
        """Wait for the picture of an image; one that can't be drawn leaves its image out.

        Raises:
            OSError: it can't be written.
            BrokenExecutor: the process that drew it was killed.
        """
        try:
            picture.result()
        except (OSError, BrokenExecutor):
            raise
        except Exception as error:
            self.leave_out(f"{path} can't be drawn ({' '.join(str(error).split())})")
        else:
            self.records.append(record)


def detect_all(
    detector: Detector,
    files: ImageFiles,
    threshold: float,
    pictures_dir: Path,
    workers: int,
    interrupt: threading.Event,
) -> Results:
    """Detect in all images, or until interrupted or stopped by an error, and draw a picture of each that can be read.

    Each image is decoded once: its picture shows what the network was given.
    """
    from tqdm import tqdm

    from viadet.inference.records import ImageRecord, unsureness
    from viadet.inference.worker_pool import worker_pool
    from viadet.pictures.detections import PREDICTION_SIDE_PX, save_prediction
    from viadet.pictures.drawing import picture_names

    pictures = picture_names({"images": [{"id": name, "file_name": name} for name in files.names]})
    results = Results()
    drawing: deque[tuple[Path, ImageRecord, Future]] = deque()
    with worker_pool(workers) as pool:
        try:
            detected = detector.detect_ahead(files.paths, detector.views, pool, PREDICTION_SIDE_PX)
            found = zip(files.names, files.paths, detected, strict=True)
            for name, path, image in tqdm(found, total=len(files.names), unit="img", desc="predict"):
                if isinstance(image, UserError):
                    results.leave_out(image)
                elif (size := bytes_of(path)) is None:
                    results.leave_out(f"{path} is gone since it was read; check its name and place")
                else:
                    merged = detector.merge(image)
                    kept, measure = merged.above(threshold), unsureness(merged.scores.tolist())
                    record = ImageRecord(name, size, image.size_wh, kept, measure)
                    task = (save_prediction, image.shown, path.name, image.size_wh, kept, pictures_dir / pictures[name])
                    drawing.append((path, record, pool.submit(*task)))
                if len(drawing) > PICTURES_BEHIND:
                    results.add_when_drawn(*drawing.popleft())
                if interrupt.is_set():
                    break
            while drawing:
                results.add_when_drawn(*drawing.popleft())
        except Exception as error:  # whatever it is, hours of work must not be lost with it
            results.stopped = error
            for _, record, picture in drawing:
                if not picture.cancel() and picture.exception() is None:
                    results.records.append(record)
    return results


def bytes_of(path: Path) -> int | None:
    """Give the size of a file; None: it is gone."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def write_results(out: Path, files: ImageFiles, results: Results, params: TableParams) -> str:
    """Write the tables, if need be instead of the pictures, as all the time was spent on what they hold.

    Images are moved only if all were looked at: others may be less sure.

    Returns:
        What is there now.

    Raises:
        UserError: a table can't be written.
    """
    from viadet.inference.image_files import PICTURES_NAME

    done = len(results.records)
    if not done:
        return "nothing was written"
    place = f"{out} has the detections of {done} of {counted(len(files.names), 'image')}"
    move_to = out / UNSURE_DIR if params.move and results.looked_at_all(len(files.names)) else None
    tables = (out, files.root, results.records, params, move_to)
    try:
        try:
            write_tables(*tables)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            shutil.rmtree(out / PICTURES_NAME)
            write_tables(*tables)
            results.stopped = error
            place += ", but no pictures: they were deleted to make room for the tables"
    except OSError as error:
        unmoved = ", and no image was moved" if params.move else ""
        raise UserError(f"{os_error_reason(error)}; {out} keeps what was written before{unmoved}") from None
    if params.move:
        moved = counted(min(params.unsure or 0, done), "image")
        place += f"; {moved} moved into {move_to}" if move_to else "; none was moved"
    return place


def end_with(results: Results, images: int, place: str) -> None:
    """End the command if not all images are done; `place` says what is there.

    Raises:
        UserError: images were left out, or the disk is full, or a worker process was killed.
        Exception: that nobody expected.
    """
    stopped, errors = results.stopped, results.errors
    if isinstance(stopped, BrokenExecutor):
        raise UserError(f"a worker process was killed, perhaps for lack of memory; use fewer --workers; {place}")
    if isinstance(stopped, OSError):
        raise UserError(f"{os_error_reason(stopped)}; {place}")
    if stopped is not None:
        print(f"predict: stopped by an error; {place}", file=sys.stderr)
        raise stopped
    if not results.looked_at_all(images):
        print(f"predict: interrupted; {place}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    if errors:
        raise UserError(f"{counted(len(errors), 'image')} left out: {first_names(errors)}; {place}")


def write_tables(
    out: Path, root: Path, records: list[ImageRecord], params: TableParams, move_to: Path | None = None
) -> None:
    """Write all but the pictures; `root` is the folder of the images, `move_to` the one that the least sure go to."""
    from viadet.inference.image_files import moved_files
    from viadet.inference.records import coco_images, coco_results, write_detections_csv, write_unsure_csv
    from viadet.inference.via_files import predictions_project, via_regions

    def write(name: str, document: dict | list) -> None:
        with replaced_file(out / name) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            json.dump(document, file, indent=1)
            file.write("\n")

    categories, attribute, unsure, _ = params
    write("coco_images.json", coco_images(records, categories))
    write("coco_results.json", coco_results(records))
    write_detections_csv(out / "detections.csv", records)
    regions = via_regions(records, attribute)
    write("via_regions.json", regions)
    write("via_project.json", predictions_project("via_project", root, regions, categories, attribute))
    if unsure:
        least_sure = sorted(records, key=lambda record: record.unsureness, reverse=True)[:unsure]
        names = [record.file_name for record in least_sure]
        with moved_files(root, names, move_to) if move_to else contextlib.nullcontext():
            write_unsure_csv(out / "unsure.csv", least_sure)
            regions = via_regions(least_sure, attribute)
            project = predictions_project(UNSURE_PROJECT, (move_to or root).absolute(), regions, categories, attribute)
            write(f"{UNSURE_PROJECT}.json", project)
