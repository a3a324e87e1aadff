"""Time the recipe `balloon` against an earlier revision of this project: steps, samples, detecting, decoding.

    python -m benchmarks.earlier REVISION [--images FOLDER COCO] [--threads N]

Both sides run the code below, each in a process of its own, that of the earlier side with viadet and params.yaml as
they were at the revision, so only names that both have are used here. Weights and images are the same, and so are the
instructions: those of the recipe, with `train.deterministic` on. The network is untrained. Samples are made with one
thread, as in a worker process, and their time is that of the CPU; steps are those on prepared batches.

Decoding is that of an image with 80 classes, with the scores of a trained network: one in fifty is above the least
score, 0.001.
"""

import io
import subprocess
import tarfile
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

import viadet
from benchmarks.images import Images, add_cpu_options, benchmark_images, check_count, describe_images
from benchmarks.project import ROOT, changed_recipe
from benchmarks.timing import Row, Seconds, alternate, cost_row, make_parser, rate_row, write_results
from benchmarks.training import SINGLE_STEPS, make_trainer, make_training_set, untrained
from viadet.annotations.coco import ConvertedImage, box_and_outline, category_names, to_coco
from viadet.detection.detector import Detector
from viadet.network.build import NetworkSpec, build_network
from viadet.network.device import keep_freed_memory, train_device
from viadet.project.files import read_json, write_json
from viadet.project.params import Recipe
from viadet.training.loader import make_loader
from viadet.training.trainer import Trainer

ROUNDS = 5
BATCH_SIZE = 4  # as in the recipe
CROWD = 200  # objects of an image
CLASSES = 80
LOGITS = (-10.0, 1.5)  # mean and standard deviation of an image's scores before the sigmoid
CODES = 0.2  # standard deviation of the codes of boxes


class Setting(NamedTuple):
    """What trains and detects, and how much of it in one turn."""

    network: str = "tf_efficientdet_lite1"
    size: int = 768  # px of the input
    small_size: int = 512  # px of the input in the first epochs
    test_size: int = 1152  # px of the input when detecting
    batches: int = 2  # of a turn
    samples: int = 8  # of a turn
    crowded_samples: int = 2  # of a turn
    detected: int = 4  # images of a turn
    decoded: int = 2  # images of a turn
    images: int = 16
    threads: int = 2


DEFAULT = Setting()


def recipe_of(setting: Setting, size: int, threads: int) -> Recipe:
    """Change the recipe `balloon` to steps at a size, on the CPU and without worker processes."""
    train = SINGLE_STEPS | {"batch_size": BATCH_SIZE, "device": "cpu", "threads": threads, "workers": 0}
    return changed_recipe("balloon", {"model": untrained(setting.network, size), "train": train})


def check_revision(tree: Path | None) -> None:
    """Check that viadet is the one in a folder; None: whichever it is."""
    if tree is not None and not Path(viadet.__file__).is_relative_to(tree):
        raise RuntimeError(f"viadet comes from {viadet.__file__}, not from {tree}")


def make_steps(trainer: Trainer, batches: int) -> Callable[[], object]:
    """Prepare batches, and take a step for each of them in a turn."""
    ready = list(islice(make_loader(trainer.images, trainer.params, trainer.device, first_epoch=0), batches))
    return lambda: trainer.train_epoch(1, ready, tqdm(disable=True))


def working(setting: Setting, images: Images, tree: Path | None) -> dict[str, Callable[[], object]]:
    """Set up what is timed by the wall clock: steps at both sizes, detecting, decoding."""
    check_revision(tree)
    large, small = (
        make_trainer(recipe_of(setting, size, setting.threads), images) for size in (setting.size, setting.small_size)
    )
    spec = large.spec._replace(input_wh=(setting.test_size, setting.test_size))
    torch.manual_seed(0)
    detector = Detector(build_network(spec).eval(), spec)
    paths = [images.folder / entry["file_name"] for entry in read_json(images.coco)["images"]]
    detected = [paths[number % len(paths)] for number in range(setting.detected)]
    decoder = constant_detector(large.spec._replace(categories=[f"class {number}" for number in range(CLASSES)]))
    picture = np.zeros((setting.size, setting.size, 3), np.uint8)
    return {
        "steps": make_steps(large, setting.batches),
        "small steps": make_steps(small, setting.batches),
        "detecting": lambda: detector(detected),
        "decoding": lambda: [detector_of(picture) for detector_of in [decoder] * setting.decoded],
    }


def constant_detector(spec: NetworkSpec) -> Detector:
    """Make a detector whose network gives the same outputs at once whatever it sees, so that decoding remains."""
    torch.manual_seed(0)
    network = build_network(spec).eval()
    with torch.inference_mode():
        logits, codes = network(torch.zeros(1, 3, *spec.input_wh[::-1]))
        mean, deviation = LOGITS
        outputs = (
            [torch.randn_like(level) * deviation + mean for level in logits],
            [torch.randn_like(level) * CODES for level in codes],
        )
    network.forward = lambda _: outputs
    return Detector(network, spec)


def sampling(setting: Setting, images: Images, crowded: Images, tree: Path | None) -> dict[str, Callable[[], object]]:
    """Set up what is timed by the CPU's clock: samples of usual images and of crowded ones."""
    check_revision(tree)
    keep_freed_memory()
    recipe = recipe_of(setting, setting.size, threads=1)
    train_device(recipe.train)  # sets threads and instructions
    return {
        "samples": make_samples(recipe, images, setting.samples),
        "crowded samples": make_samples(recipe, crowded, setting.crowded_samples),
    }


def make_samples(recipe: Recipe, images: Images, count: int) -> Callable[[], object]:
    """Make the first samples of an epoch, the same ones in each turn."""
    samples = make_training_set(recipe, images)
    return lambda: [samples[0, number % len(samples)] for number in range(count)]


def crowd(images: Images, objects: int) -> Images:
    """Annotate images anew, with many round objects in each."""
    coco, rng = read_json(images.coco), np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    converted = []
    for image in coco["images"]:
        size_wh = np.array([image["width"], image["height"]])
        outlines = [
            np.clip(rng.uniform(0, size_wh) + rng.uniform(0.01, 0.04) * max(size_wh) * circle, 0, size_wh)
            for _ in range(objects)
        ]
        boxes = [box_and_outline([tuple(point) for point in outline.tolist()]) for outline in outlines]
        converted.append(ConvertedImage(image, [box | {"category_id": 1} for box in boxes]))
    path = images.work_dir / "crowded.json"
    write_json(path, to_coco(converted, list(category_names(coco).values())))
    return images._replace(coco=path)


def git(*arguments: str) -> bytes:
    """Run git in the project's folder and return what it prints.

    Raises:
        CalledProcessError: it failed.
    """
    return subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, check=True).stdout


def check_out(revision: str, folder: Path) -> None:
    """Write viadet and params.yaml as they were at a revision into a folder."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", revision, "viadet", "params.yaml"))) as archive:
        archive.extractall(folder, filter="data")


def make_rows(setting: Setting, seconds: Seconds, revision: str) -> list[Row]:
    """Compare ours with the earlier revision."""
    images = setting.batches * BATCH_SIZE
    rates = {
        "steps": (f"steps of `balloon` at {setting.size} px", images),
        "small steps": (f"steps of `balloon` at {setting.small_size} px", images),
        "detecting": (f"detecting at {setting.test_size} px", setting.detected),
    }
    costs = {
        "decoding": (f"decoding {CLASSES} classes at {setting.size} px", "s/image", setting.decoded),
        "samples": (f"a sample of `balloon` at {setting.size} px", "s of CPU", setting.samples),
        "crowded samples": (f"a sample with {CROWD} objects", "s of CPU", setting.crowded_samples),
    }
    rows = [
        rate_row(what, count, seconds["ours", kind], revision, seconds["earlier", kind])
        for kind, (what, count) in rates.items()
    ]
    for kind, (what, unit, count) in costs.items():
        own, other = ([value / count for value in seconds[side, kind]] for side in ("ours", "earlier"))
        rows.append(cost_row(what, unit, own, revision, other))
    return rows


def main(arguments: list[str] | None = None, setting: Setting = DEFAULT, in_processes: bool = True) -> None:
    """Time both revisions and write the results."""
    parser = make_parser(__doc__, ROUNDS)
    parser.add_argument("revision", help="of git, such as a tag or HEAD~20")
    add_cpu_options(parser)
    options = parser.parse_args(arguments)
    setting = setting._replace(threads=options.threads)
    try:
        earlier = git("rev-parse", "--verify", "--quiet", f"{options.revision}^{{commit}}").decode().strip()
    except subprocess.CalledProcessError:
        parser.error(f"git knows no revision {options.revision}")
    with benchmark_images(options.images, setting.images, 2 * setting.size) as images:
        check_count(parser, images, BATCH_SIZE)
        tree = images.work_dir / "earlier"
        check_out(earlier, tree)
        crowded = crowd(images, CROWD)
        trees = {"ours": ROOT, "earlier": tree} if in_processes else {"ours": None, "earlier": None}
        works = {side: partial(working, setting, images, of_side) for side, of_side in trees.items()}
        samples = {side: partial(sampling, setting, images, crowded, of_side) for side, of_side in trees.items()}
        paths = {"earlier": tree}
        seconds = alternate(works, options.rounds, in_processes=in_processes, first_paths=paths)
        seconds |= alternate(samples, options.rounds, time.process_time, in_processes, paths)
    ours = git("describe", "--always", "--abbrev=40", "--dirty").decode().strip()
    settings = setting._asdict() | {"ours": ours, "earlier": earlier, "rounds": options.rounds}
    settings |= {"data": describe_images(options.images)}
    write_results(options.results, "earlier", settings, make_rows(setting, seconds, f"revision {earlier[:7]}"))


if __name__ == "__main__":
    main()
