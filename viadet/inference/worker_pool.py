"""Processes that decode image files and draw pictures while the network works."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

import torch

from viadet.network.device import default_workers
from viadet.project.errors import ignore_pillow

FEW_IMAGES = 16


def workers_for(images: int, device: torch.device) -> int:
    """Choose the number of processes for so many images: for few, starting one takes longer than it saves."""
    return min(default_workers(device), max(0, images - 1) // FEW_IMAGES)


@contextmanager
def worker_pool(workers: int) -> Iterator[Executor]:
    """Start processes that decode and draw; 0: a thread of this process does. Unfinished work is dropped at the end."""
    if workers:
        # Forked from this process they could hang, as torch's threads may hold locks.
        start = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        context = multiprocessing.get_context(start)
        if start == "forkserver":
            context.set_forkserver_preload(["viadet.detection.detector"])
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
    ignore_pillow()
    threading.Thread(target=_end_with_command, daemon=True).start()


def _end_with_command() -> None:
    """End this process after the command, which may be killed: the pool would wait for its next task forever."""
    multiprocessing.parent_process().join()
    os._exit(1)
