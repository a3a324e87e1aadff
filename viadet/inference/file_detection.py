"""Detecting in any number of image files: worker processes decode ahead, memory stays bounded."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch

from viadet.inference.detector import Detector, InputView, PreparedImage, prepare_image, read_existing_image
from viadet.network.device import default_workers
from viadet.project.errors import UserError

FEW_IMAGES = 16
BATCHES_AHEAD = 2  # decoded while the network works


class FileDetections(NamedTuple):
    """What was detected in one file."""

    size_wh: tuple[int, int]  # px of the upright image
    results: list[dict]  # as in COCO's format, best first, without image_id


def detect_files(
    detector: Detector, paths: list[Path], pool: Executor
) -> Iterator[tuple[Path, FileDetections | UserError]]:
    """Detect objects in image files, in their order; for one that can't be read, give the error instead.

    Args:
        detector: that detects.
        paths: of the images.
        pool: of `worker_pool`.
    """
    waiting = iter(paths)
    ahead: deque[tuple[Path, Future]] = deque()
    group: list[tuple[Path, PreparedImage | UserError]] = []
    while True:
        for path in islice(waiting, (1 + BATCHES_AHEAD) * detector.batch_size - len(ahead)):
            ahead.append((path, pool.submit(prepare_file, path, detector.views, detector.fill_rgb)))
        if ahead:
            path, future = ahead.popleft()
            group.append((path, future.result()))
        images = [image for _, image in group if isinstance(image, PreparedImage)]
        if len(images) == detector.batch_size or not ahead:
            results = iter(detector.detect(images) if images else [])
            for path, image in group:
                yield path, _without_ids(image, next(results)) if isinstance(image, PreparedImage) else image
            group = []
        if not ahead and not group:
            return


def prepare_file(path: Path, views: list[InputView], fill_rgb: tuple[int, int, int]) -> PreparedImage | UserError:
    """Decode an image file and letterbox it for each view; an image that can't be read gives its error."""
    try:
        return prepare_image(read_existing_image(path), views, fill_rgb)
    except UserError as error:
        return error


def workers_for(images: int, device: torch.device) -> int:
    """Choose the number of processes for so many images: for few, starting any takes longer than they save."""
    return default_workers(device) if images > FEW_IMAGES else 0


@contextmanager
def worker_pool(workers: int) -> Iterator[Executor]:
    """Start processes that decode and draw; 0: a thread of this process does. Unfinished work is dropped at the end."""
    if workers:
        # Forked from this process they could hang, as torch's threads may hold locks.
        start = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        context = multiprocessing.get_context(start)
        if start == "forkserver":
            context.set_forkserver_preload([__name__])
        pool: Executor = ProcessPoolExecutor(workers, context, _start_worker)
    else:
        pool = ThreadPoolExecutor(1)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command itself decides what Ctrl-C ends
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_command, daemon=True).start()


def _end_with_command() -> None:
    """End this process after the command, which may be killed: the pool would wait for its next task forever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _without_ids(image: PreparedImage, results: list[dict]) -> FileDetections:
    kept = [{key: value for key, value in result.items() if key != "image_id"} for result in results]
    return FileDetections((image.width, image.height), kept)
