"""Timing several sides in turn, each in a process of its own; what a benchmark writes, and its command line."""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from viadet.project.files import write_json
from viadet.project.libraries import installed_versions

RESULTS_DIR = Path(__file__).parent / "results"
LIBRARIES = ("dvc", "effdet", "grad-cam", "numpy", "pillow", "timm", "torch", "torchvision")
Side = Callable[[], dict[str, Callable[[], object]]]  # sets itself up, and returns what is timed by its kind
Seconds = dict[tuple[str, str], list[float]]  # of each round, by (side, kind)
_worker = threading.local()  # a side's turns, in its own thread or process


class Row(NamedTuple):
    """A row of the table in docs/speed.md: a figure of ours beside what it is compared with, medians over rounds."""

    what: str
    unit: str
    value: float | str  # text says why there is no figure
    reference: str = ""  # names what it is compared with, if anything
    reference_value: float | None = None
    ratio: float | None = None  # of value to reference value: the median of the rounds' ratios


def alternate(
    sides: dict[str, Side],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    in_processes: bool = True,
    first_paths: dict[str, Path] | None = None,
) -> Seconds:
    """Time each kind of work of each side in turn, so that what else the machine does slows all alike.

    Args:
        sides: picklable, if they run in processes.
        rounds: over all kinds and sides; one more comes before, untimed.
        clock: seconds.
        in_processes: give each side a process of its own: memory allocator, number of threads and instruction set are
            set for a whole process. If not, threads of this process; for tests.
        first_paths: by side, a folder where its process looks for modules first.
    """
    seconds = defaultdict(list)
    with ExitStack() as stack:
        workers, kinds = {}, {}
        for side, set_up in sides.items():
            context = multiprocessing.get_context("spawn")
            worker = ProcessPoolExecutor(1, context) if in_processes else ThreadPoolExecutor(1)
            workers[side] = stack.enter_context(worker)
            with _first_on_path((first_paths or {}).get(side)):  # the process starts within
                kinds[side] = workers[side].submit(_set_up, set_up).result()
        for number in range(1 + rounds):
            for kind in dict.fromkeys(kind for of_side in kinds.values() for kind in of_side):
                for side in (side for side in sides if kind in kinds[side]):
                    taken = workers[side].submit(_take_turn, kind, clock).result()
                    if number:
                        seconds[side, kind].append(taken)
    return seconds


@contextmanager
def _first_on_path(folder: Path | None) -> Iterator[None]:
    before = list(sys.path)
    if folder is not None:
        sys.path.insert(0, str(folder))
    yield
    sys.path[:] = before


def _set_up(side: Side) -> list[str]:
    _worker.turns = side()
    return list(_worker.turns)


def _take_turn(kind: str, clock: Callable[[], float]) -> float:
    start = clock()
    _worker.turns[kind]()
    return clock() - start


def rate_row(what: str, images: int, seconds: list[float], reference: str, reference_seconds: list[float]) -> Row:
    """Compare images/s: a ratio above 1 is faster than the reference.

    Args:
        what: is measured.
        images: of a turn, on both sides.
        seconds: of each round.
        reference: what it is compared with.
        reference_seconds: of each round.
    """
    ratio = statistics.median(other / own for own, other in zip(seconds, reference_seconds, strict=True))
    value, reference_value = (images / statistics.median(values) for values in (seconds, reference_seconds))
    return Row(what, "images/s", *_rounded(value), reference, *_rounded(reference_value, ratio))


def cost_row(what: str, unit: str, costs: list[float], reference: str, reference_costs: list[float]) -> Row:
    """Compare seconds or memory: a ratio above 1 is more than the reference; arguments as for `rate_row`."""
    ratio = statistics.median(own / other for own, other in zip(costs, reference_costs, strict=True))
    value, reference_value = map(statistics.median, (costs, reference_costs))
    return Row(what, unit, *_rounded(value), reference, *_rounded(reference_value, ratio))


def _rounded(*values: float) -> list[float]:
    return [float(f"{value:.3g}") for value in values]


def write_results(folder: Path, name: str, settings: dict[str, Any], rows: list[Row]) -> None:
    """Write `NAME.json` as `write_json_of` does, and print the figures."""
    results = write_json_of(folder, name, settings, rows)
    print(json.dumps(results["rows"], indent=1))


def write_json_of(folder: Path, name: str, settings: dict[str, Any], rows: list[NamedTuple]) -> dict[str, Any]:
    """Write `NAME.json` with figures, settings, machine and versions; returns its content."""
    machine = {"cores": os.cpu_count(), "cpu": cpu_model(), "system": platform.system()}
    versions = installed_versions(LIBRARIES) | {"python": platform.python_version()}
    figures = [row._asdict() for row in rows]
    results = {"rows": figures, "settings": settings, "machine": machine, "versions": versions}
    write_json(folder / f"{name}.json", results)
    return results


def cpu_model() -> str:
    """Name the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def make_parser(doc: str, rounds: int | None = None) -> argparse.ArgumentParser:
    """Start a benchmark's command line; `rounds` is the default of those that are timed in rounds."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, help=f"that are timed; default {rounds}")
    parser.add_argument("--results", type=Path, default=RESULTS_DIR, help="folder of the JSON; default: git's")
    return parser
