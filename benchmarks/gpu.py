"""Measure a CUDA GPU in twelve minutes: training beside effdet's loop, waiting for data, samples, evaluation, memory.

    python -m benchmarks.gpu [--images FOLDER COCO] [--device cpu --tiny]

- Training: steps on prepared batches, with all weights and effdet's loss, as single operations (eager) and as a CUDA
  graph, beside effdet's loop in the form that is fastest (see benchmarks/training.py); and the most memory that tensors
  take. Ours is deterministic, as in the recipes.
- The loop of the recipe `balloon`, with its worker processes, and the share of its time that the GPU has nothing to do.
- Samples by the number of worker processes, without a network.
- Detecting in files, in plain images and in the views of the recipe's evaluation. The network is untrained: the hardest
  case for non-maximum suppression.
- Whether two trainings have the same weights, and how far apart eager and graph are.

Each part has a process of its own and a time in which it must end; the results so far are written after each. A part
that fails or does not end is a row that says so. `--tiny` only shows that it runs, in a minute and on the CPU.
"""

import gc
import itertools
import multiprocessing
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from typing import NamedTuple

import torch
from tqdm import tqdm

from benchmarks.images import Images, add_image_option, benchmark_images, check_count, describe_images
from benchmarks.project import changed_recipe
from benchmarks.speed_table import TITLES, render_one
from benchmarks.timing import Row, make_parser, write_json_of
from benchmarks.training import SAME_WORK, SINGLE_STEPS, EffdetLoop, make_trainer, network_spec, untrained
from viadet.detection.detector import SCORE_THRESHOLD, Detector
from viadet.detection.settings import DetectSettings
from viadet.network.build import build_network
from viadet.network.device import describe_device, keep_freed_memory, train_device, usable_cores
from viadet.project.files import read_json
from viadet.project.params import Recipe
from viadet.training.loader import make_loader
from viadet.training.trainer import Trainer

EFFDET = "effdet's loop"
EAGER, GRAPH = "eager", "graph"
GIB = 2**30
PREPARED = 2  # batches that steps alone go through again and again
BALLOON_IMAGES = 60  # of an epoch: 61 photographs in full batches


class Setting(NamedTuple):
    """What is measured, and how long."""

    device: str = "cuda"
    networks: tuple[str, ...] = ("tf_efficientdet_lite1", "tf_efficientdet_d2")
    size: int = 768  # px of the input in training
    small_size: int = 512  # px of the input in the first epochs of `balloon`
    test_size: int = 1152  # px of the input when detecting
    batch_sizes: tuple[int, ...] = (4, 16)
    workers: tuple[int, ...] = (1, 2, 4, 8, 16)  # and all cores
    images: int = 24
    warm_up: int = 4  # steps before the clock starts: algorithms are chosen, a graph is captured
    seconds: float = 8.0  # of each figure
    same_steps: int = 12  # of trainings that are compared
    part_seconds: float = 80.0  # at most, of each of the eight parts


DEFAULT = Setting()
TINY = Setting("cpu", ("tf_efficientdet_lite0",), 128, 128, 128, (2,), (1,), 2, 1, 0.1, 2)
Part = Callable[[Setting, Images], Iterator[Row]]


def recipe_for(setting: Setting, size: int, changes: dict[str, object], network: str | None = None) -> Recipe:
    """Change the recipe `balloon` to steps at a size, with some changes of the section `train`."""
    train = SINGLE_STEPS | {"device": setting.device} | changes
    if setting.device == "cpu":
        train |= {"threads": 1}  # only tiny settings run there
    return changed_recipe("balloon", {"model": untrained(network or setting.networks[0], size), "train": train})


def synchronise(device: torch.device) -> None:
    """Wait until the GPU has done all that is queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def until(batches: Iterable, seconds: float) -> Iterator:
    """Give batches for so many seconds, and at least one."""
    end = time.perf_counter() + seconds
    for batch in batches:
        yield batch
        if time.perf_counter() >= end:
            return


def images_per_second(
    train_on: Callable[[Iterable], object], batches: Iterable, device: torch.device, seconds: float
) -> float:
    """Train on batches for some seconds, until the last step is done."""
    counted = 0

    def counting() -> Iterator:
        nonlocal counted
        for batch in until(batches, seconds):
            counted += len(batch[0])
            yield batch

    synchronise(device)
    started = time.perf_counter()
    train_on(counting())
    synchronise(device)
    return counted / (time.perf_counter() - started)


def steps_of(trainer: Trainer) -> Callable[[Iterable], None]:
    """Take a step of a training for each batch."""
    return lambda batches: trainer.train_epoch(1, batches, tqdm(disable=True))


def is_graph(trainer: Trainer) -> bool:
    """Tell whether a training's steps are CUDA graphs."""
    return trainer.graphs is not None


class Steps(NamedTuple):
    """What steps alone took."""

    images_per_second: float
    peak_gib: float  # the most memory of tensors on the GPU; 0 on a CPU


def measure_steps(train_on: Callable[[Iterable], object], ready: list, device: torch.device, setting: Setting) -> Steps:
    """Measure steps on prepared batches, after a few that are not timed."""
    train_on(itertools.islice(itertools.cycle(ready), setting.warm_up))
    rate = images_per_second(train_on, itertools.cycle(ready), device, setting.seconds)
    return Steps(rate, torch.cuda.max_memory_allocated(device) / GIB if device.type == "cuda" else 0.0)


def forget() -> None:
    """Free the memory of what was measured before."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def our_steps(setting: Setting, images: Images, network: str, batch_size: int, form: str) -> Steps | None:
    """Measure our steps; None: there is no graph."""
    trainer = make_trainer(recipe_for(setting, setting.size, {"batch_size": batch_size} | SAME_WORK, network), images)
    if form == EAGER:
        trainer.graphs = None
    elif not is_graph(trainer):
        return None
    loader = make_loader(trainer.images, trainer.params, trainer.device, first_epoch=0)
    ready = list(itertools.islice(loader, PREPARED))
    steps = measure_steps(steps_of(trainer), ready, trainer.device, setting)
    return steps if form == EAGER or is_graph(trainer) else None  # capturing may have failed


def effdets_steps(setting: Setting, images: Images, network: str, batch_size: int) -> Steps:
    """Measure those of effdet's loop."""
    spec = network_spec(recipe_for(setting, setting.size, {}, network).model, images)
    loop = EffdetLoop(spec, torch.device(setting.device))
    loader = loop.loader(images, batch_size, workers=0)
    ready = list(itertools.islice(itertools.chain.from_iterable(itertools.repeat(loader)), PREPARED))
    return measure_steps(loop.train_on, ready, loop.device, setting)


def training_rows(setting: Setting, images: Images, network: str, batch_size: int) -> Iterator[Row]:
    """Compare steps of a network with effdet's: first eager ones, whose rows are there if there can be no graph."""
    name = f"{network.removeprefix('tf_efficientdet_')}, {setting.size} px, batches of {batch_size}"
    effdets = None
    for form in (EAGER, GRAPH):
        forget()
        steps = our_steps(setting, images, network, batch_size, form)
        if effdets is None:
            forget()
            effdets = effdets_steps(setting, images, network, batch_size)
            torch.backends.cudnn.benchmark = False  # again: ours does not choose algorithms by their time
        if steps is None:
            yield Row(f"training {name}, {form}", "", "no graph")
            continue
        yield compared(f"training {name}, {form}", "images/s", steps.images_per_second, effdets.images_per_second)
        if setting.device == "cuda":
            yield compared(f"its peak memory, {form}", "GiB", steps.peak_gib, effdets.peak_gib)


def compared(what: str, unit: str, value: float, other: float, reference: str = EFFDET) -> Row:
    """Make a row of two figures."""
    return Row(what, unit, rounded(value), reference, rounded(other), rounded(value / other))


def rounded(value: float) -> float:
    """Keep three digits."""
    return float(f"{value:.3g}")


def loop_rows(setting: Setting, images: Images) -> Iterator[Row]:
    """Train as the recipe `balloon` does, at both sizes, and see how long the GPU has nothing to do."""
    rates = {}
    for size in (setting.small_size, setting.size):
        forget()
        trainer = make_trainer(recipe_for(setting, size, {}), images)
        train_on = steps_of(trainer)
        batches = iter(make_loader(trainer.images, trainer.params, trainer.device, first_epoch=0))
        train_on(itertools.islice(batches, setting.warm_up))
        rates[size] = images_per_second(train_on, batches, trainer.device, setting.seconds)
        yield Row(f"the loop of `balloon` at {size} px, with its workers", "images/s", rounded(rates[size]))
        waits: list[float] = []
        started = time.perf_counter()
        train_on(timed(until(batches, setting.seconds), trainer.device, waits))
        share = sum(waits) / (time.perf_counter() - started)
        yield Row(f"its share of time without data at {size} px", "%", rounded(100 * share))
    params = changed_recipe("balloon", {}).train
    small = round(params.small_share * params.epochs)
    counts = {setting.small_size: small, setting.size: params.epochs - small}
    seconds = sum(BALLOON_IMAGES * epochs / rates[size] for size, epochs in counts.items())
    yield Row(f"all {params.epochs} epochs of `balloon` at these rates", "min", rounded(seconds / 60))


def timed(batches: Iterator, device: torch.device, waits: list[float]) -> Iterator:
    """Add how long each batch was waited for while the GPU had nothing to do."""
    while True:
        synchronise(device)
        started = time.perf_counter()
        batch = next(batches, None)
        waits.append(time.perf_counter() - started)
        if batch is None:
            return
        yield batch


def sample_rows(setting: Setting, images: Images) -> Iterator[Row]:
    """Make samples with some numbers of worker processes."""
    cores = usable_cores()
    single = None
    trainer = make_trainer(recipe_for(setting, setting.size, {}), images)
    for workers in sorted({*(count for count in setting.workers if count < cores), cores}):
        params = trainer.params.model_copy(update={"workers": workers})
        batches = iter(make_loader(trainer.images, params, trainer.device, first_epoch=0))
        for _ in range(2 * workers):  # those that workers make ahead
            next(batches)
        rate = images_per_second(lambda given: [None for _ in given], batches, trainer.device, setting.seconds)
        single = single or rate
        what = f"samples of `balloon` at {setting.size} px, worker processes: {workers}"
        yield compared(what, "images/s", rate, single, "a single one")
        del batches  # ends its workers before others start


def evaluation_rows(setting: Setting, images: Images) -> Iterator[Row]:
    """Detect in files, in plain images and in the views of `balloon`."""
    keep_freed_memory()
    recipe = recipe_for(setting, setting.size, {})
    device = train_device(recipe.train)
    spec = network_spec(recipe.model, images)
    torch.manual_seed(0)
    network = build_network(spec).eval().to(device)
    paths = [images.folder / entry["file_name"] for entry in read_json(images.coco)["images"]]
    test_wh = (setting.test_size, setting.test_size)
    for merged in (None, recipe.evaluate.test_time):
        settings = DetectSettings(test_wh, SCORE_THRESHOLD, recipe.evaluate.max_detections, merged)
        detector = Detector(network, spec, settings)
        found = (detector.merge(image) for image in detector.detect_all(list(paths) * 1000))
        for _ in range(len(paths)):
            next(found)
        started, count = time.perf_counter(), 0
        for _ in until(found, setting.seconds):
            count += 1
        rate = count / (time.perf_counter() - started)
        found.close()
        what = f"detecting in files at {setting.test_size} px, views of an image: {len(detector.views)}"
        yield Row(what, "images/s", rounded(rate))


def sameness_rows(setting: Setting, images: Images) -> Iterator[Row]:
    """Train twice in each form, and compare the weights."""
    trained: dict[str, list[torch.Tensor]] = {}
    for form in (EAGER, GRAPH):
        runs = []
        for _ in range(2):
            forget()
            trainer = make_trainer(recipe_for(setting, setting.size, {}), images)
            if form == EAGER:
                trainer.graphs = None
            elif not is_graph(trainer):
                break
            loader = make_loader(trainer.images, trainer.params, trainer.device, first_epoch=0)
            steps_of(trainer)(itertools.islice(loader, setting.same_steps))
            if form == EAGER or is_graph(trainer):
                runs.append(torch.cat([value.detach().flatten().cpu() for value in trainer.network.parameters()]))
        what = f"weights after {setting.same_steps} steps of `balloon` twice, {form}"
        yield Row(what, "", difference(*runs) if len(runs) == 2 else "no graph")
        if runs:
            trained[form] = runs[0]
    if len(trained) == 2:
        yield Row("the same, graph beside eager", "", difference(*trained.values()))


def difference(weights: torch.Tensor, others: torch.Tensor) -> str:
    """Tell whether weights are the same to the bit, or the largest difference."""
    if torch.equal(weights, others):
        return "the same bytes"
    return f"up to {(weights - others).abs().max():.1e} apart"


def parts_of(setting: Setting) -> dict[str, Part]:
    """Name the parts."""
    pairs = itertools.product(setting.networks, setting.batch_sizes)
    return {
        f"training {network}, batches of {size}": partial(training_rows, network=network, batch_size=size)
        for network, size in pairs
    } | {"the loop": loop_rows, "samples": sample_rows, "detecting": evaluation_rows, "the same bytes": sameness_rows}


def failure(name: str, error: Exception) -> Row:
    """Say in a row that a part failed."""
    first_line = (str(error).splitlines() or [""])[0]
    return Row(name, "", f"failed: {type(error).__name__}: {first_line[:100]}")


def run_here(name: str, part: Part, setting: Setting, images: Images) -> Iterator[Row]:
    """Run a part; if it fails, the last row says so."""
    try:
        yield from part(setting, images)
    except Exception as error:
        traceback.print_exc()
        yield failure(name, error)


def run_apart(name: str, part: Part, setting: Setting, images: Images) -> Iterator[Row]:
    """Run a part in a process of its own, and end it when its time is up."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_rows, args=(name, part, setting, images, sender))
    end = time.perf_counter() + setting.part_seconds
    process.start()
    sender.close()
    try:
        while receiver.poll(max(0.0, end - time.perf_counter())):
            yield receiver.recv()
        yield Row(name, "", f"did not end in {setting.part_seconds:g} s")
    except EOFError:  # it has ended
        process.join()
        if process.exitcode:
            yield Row(name, "", f"ended with exit code {process.exitcode}")
    finally:
        process.kill()
        process.join()


def _send_rows(name: str, part: Part, setting: Setting, images: Images, sender: Connection) -> None:
    for row in run_here(name, part, setting, images):
        sender.send(row)


def main(arguments: list[str] | None = None, in_processes: bool = True) -> None:
    """Run all parts, write the results and print the table."""
    parser = make_parser(__doc__)
    add_image_option(parser)
    parser.add_argument("--device", default=DEFAULT.device, help="cuda, or cpu with --tiny")
    parser.add_argument("--tiny", action="store_true", help="only to see that it runs")
    options = parser.parse_args(arguments)
    setting = (TINY if options.tiny else DEFAULT)._replace(device=options.device)
    if setting.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA GPU here; --device cpu --tiny shows that it runs")
    settings = {"device": describe_device(torch.device(setting.device)), "data": describe_images(options.images)}
    settings |= {"seconds of a figure": setting.seconds}
    rows: list[Row] = []
    with benchmark_images(options.images, setting.images, 2 * setting.size) as images:
        check_count(parser, images, max(setting.batch_sizes))
        for name, part in parts_of(setting).items():
            print(name, file=sys.stderr, flush=True)
            rows += (run_apart if in_processes else run_here)(name, part, setting, images)
            results = write_json_of(options.results, "gpu", settings, rows)
    print(render_one(TITLES["gpu"], results))


if __name__ == "__main__":
    main()
