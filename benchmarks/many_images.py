"""Measure all stages on thousands of photographs of 2,000 px: CPU time by image, and the most memory.

    python -m benchmarks.many_images [--images 1000 10000]

The images are a few rendered ones under many names, each file with other bytes at its end. The input is tiny and the
network hardly trained: it detects 100 objects in every image. Many images are compared with few. It takes about
twenty minutes on two cores, and 2 MB of disk for an image. Linux only.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.project import ROOT, STAGES, cpu_of_children, write_params
from benchmarks.timing import Row, cost_row, make_parser, write_results
from viadet.detection.detections import read_detections
from viadet.evaluation.average_precision import ap_interval
from viadet.evaluation.coco_metrics import evaluate_coco
from viadet.project.files import read_json
from viadet.sample.render import write_rendered_split

IMAGES = (1000, 10_000)
SIDE_PX = 2000
RENDERED = 40
NETWORK = "the network and NMS alone"
INTERVAL = "evaluate's confidence interval"
BOOTSTRAP = 1000  # samples, as in the recipes
CHANGES = {  # of the recipe `own`
    "fetch": {"source": "own"},
    "model": {"name": "tf_efficientdet_lite0", "init": "random", "image_size": 128, "test_size": None},
    "train": {"epochs": 1, "warmup_epochs": 0, "validate_every": 1, "device": "cpu", "threads": 2},
    "evaluate": {"test_time": None},
}
DETECT = """
from pathlib import Path
from viadet.detection.detector import Detector
from viadet.network.device import keep_freed_memory, train_device
from viadet.network.weights import load_network
from viadet.project.files import read_json
from viadet.project.params import read_recipe
keep_freed_memory()
recipe = read_recipe()
detector = Detector(*load_network(Path("data/model"), train_device(recipe.train), recipe.model.test_wh))
paths = [Path("data/raw", image["file_name"]) for image in read_json(Path("data/coco/val.json"))["images"]]
print(sum(len(detector.merge(image)) for image in detector.detect_all(paths)), "detections")
"""


class Cost(NamedTuple):
    """What a step took, with its worker processes."""

    cpu_seconds: float
    own_mib: float  # the most memory at once, without what is mapped from files


def write_images(folder: Path, count: int, side: int) -> None:
    """Write that many photographs of `side` px with one VIA file."""
    originals = folder / "originals"
    originals.mkdir(parents=True)
    write_rendered_split(originals, min(RENDERED, count), side, (0, 0))
    entries = list(json.loads((originals / "via_region_data.json").read_text(encoding="utf-8")).values())
    images = [(originals / entry["filename"]).read_bytes() for entry in entries]
    (folder / "own").mkdir()
    via = {}
    for number in range(count):
        name, data = f"{number:05d}.jpg", images[number % len(images)] + number.to_bytes(8, "big")
        (folder / "own" / name).write_bytes(data)  # decoders ignore what follows the image
        via[name] = entries[number % len(entries)] | {"filename": name, "size": len(data)}
    (folder / "own" / "via_region_data.json").write_text(json.dumps(via), encoding="utf-8")


def own_mib(process: psutil.Process) -> float:
    """Add up the memory of a process and its children that is not mapped from files, MiB."""
    total_kib = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            status = Path(f"/proc/{one.pid}/status").read_text(encoding="utf-8")
            total_kib += int(status.partition("RssAnon:")[2].split()[0])
        except (OSError, IndexError):  # it has just ended
            continue
    return total_kib / 1024


def measure(arguments: list[str], folder: Path) -> Cost:
    """Run Python with arguments in a folder.

    Raises:
        SystemExit: it failed; with its error.
    """
    before, most = cpu_of_children(), 0.0
    with (folder / "errors.txt").open("w+", encoding="utf-8") as errors:
        command, environment = [sys.executable, *arguments], os.environ | {"PYTHONPATH": str(ROOT)}
        process = psutil.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=errors)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            most = max(most, own_mib(process))
            try:
                process.wait(0.1)
            except psutil.TimeoutExpired:
                continue
        if process.wait():
            errors.seek(0)
            sys.exit(errors.read())
    return Cost(cpu_of_children() - before, most)


def measure_images(count: int, side: int) -> dict[str, Cost]:
    """Run all stages on that many images, and two parts of `evaluate` by themselves."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:  # /tmp may itself be memory
        folder = Path(name)
        costs = measure_stages(folder, count, side, STAGES)
        return costs | {NETWORK: measure(["-c", DETECT], folder), INTERVAL: measure_interval(folder)}


def measure_stages(folder: Path, count: int, side: int, stages: Sequence[str]) -> dict[str, Cost]:
    """Run stages on that many images in an empty folder."""
    write_images(folder, count, side)
    write_params(folder, "own", CHANGES)
    costs = {}
    for stage in stages:
        costs[stage] = measure(["-m", f"stages.{stage}"], folder)
        print(f"{count} images, {stage}: {costs[stage]}", flush=True)
    return costs


def measure_interval(folder: Path) -> Cost:
    """Compute the interval of AP once more from what was detected; without its memory."""
    coco, detections = read_json(folder / "data/coco/val.json"), read_detections(folder / "data/detections.json")
    matches = evaluate_coco(coco, detections).matches
    before = time.process_time()
    ap_interval(matches, BOOTSTRAP, seed=0)
    return Cost(time.process_time() - before, 0.0)


def make_rows(few: int, few_costs: dict[str, Cost], many: int, many_costs: dict[str, Cost]) -> list[Row]:
    """Compare time by image and memory of many images with those of few, and evaluate with its network."""
    rows = []
    for stage in STAGES:
        both = (many, many_costs), (few, few_costs)
        milliseconds = [[1000 * costs[stage].cpu_seconds / count] for count, costs in both]
        rows.append(cost_row(stage, "ms of CPU an image", milliseconds[0], f"{few} images", milliseconds[1]))
    for stage in STAGES:
        peaks = [[costs[stage].own_mib] for costs in (many_costs, few_costs)]
        rows.append(cost_row(stage, "MiB at most", peaks[0], f"{few} images", peaks[1]))
    for step in (INTERVAL, "evaluate"):
        seconds = [[many_costs[name].cpu_seconds] for name in (step, NETWORK)]
        rows.append(cost_row(step, "s of CPU", seconds[0], NETWORK, seconds[1]))
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measure the fewest and the most images and write the results."""
    parser = make_parser(__doc__)
    parser.add_argument("--images", type=int, nargs=2, default=IMAGES, metavar=("FEW", "MANY"))
    parser.add_argument("--side", type=int, default=SIDE_PX, help=f"of the images, px; default {SIDE_PX}")
    options = parser.parse_args(arguments)
    if not sys.platform.startswith("linux"):
        parser.error("memory is read from /proc; run this on Linux")
    few, many = options.images
    few_costs, many_costs = (measure_images(count, options.side) for count in (few, many))
    settings = {"side": options.side, "images": f"{few} and {many}", "input": CHANGES["model"]["image_size"]}
    write_results(options.results, "many_images", settings, make_rows(few, few_costs, many, many_costs))


if __name__ == "__main__":
    main()
