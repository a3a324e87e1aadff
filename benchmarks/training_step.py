"""Time training: ours against effdet's data set, transforms, collate and DetBenchTrain in a plain loop.

    python -m benchmarks.training_step [--images FOLDER COCO] [--threads N]

Both train the same network on the same images on the CPU, in batches of the same size and in float32, with as many
worker processes that make samples. Both compute with all instructions that the CPU has: `train.deterministic`, which
keeps our recipes to AVX2, is off. effdet's loop is in the form that is fastest, see benchmarks/training.py; only the
setting of glibc by which freed memory is kept for the next step is ours alone, as it is part of our training.

A turn is some batches, from the order to make the first of them to the last step: the workers of each side make just
those batches and wait while other sides are timed. Our augmentation is that of the recipe `balloon`, copy-paste along
polygons and colours included; effdet's mirrors and scales. Our step also clips gradients, checks that they are finite
and averages the weights.
"""

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import torch
from tqdm import tqdm

from benchmarks.images import Images, add_cpu_options, benchmark_images, check_count, describe_images
from benchmarks.project import changed_recipe
from benchmarks.timing import Row, Seconds, alternate, make_parser, rate_row, write_results
from benchmarks.training import SAME_WORK, SINGLE_STEPS, EffdetLoop, in_turns, make_trainer, network_spec, untrained
from viadet.project.params import Recipe
from viadet.training.loader import make_loader

ROUNDS = 5
EFFDET = "effdet's loop"
CPU = {"device": "cpu", "deterministic": False, "precision": "fp32"}  # all instructions, but the same numbers


class Setting(NamedTuple):
    """What is trained, and how much of it in one turn."""

    network: str = "tf_efficientdet_d0"
    size: int = 512  # px of the input
    batch_size: int = 4
    batches: int = 4  # of a turn
    images: int = 16
    workers: int = 1  # processes that make samples, as the recipes have on a CPU
    threads: int = 2

    @property
    def turn_images(self) -> int:
        """Number of images of a turn."""
        return self.batches * self.batch_size


DEFAULT = Setting()


def recipe_of(setting: Setting, changes: dict) -> Recipe:
    """Change the recipe `balloon` to train what the setting says."""
    train = {"batch_size": setting.batch_size, "threads": setting.threads, "workers": setting.workers}
    train |= SINGLE_STEPS | CPU | changes
    return changed_recipe("balloon", {"model": untrained(setting.network, setting.size), "train": train})


def our_training(setting: Setting, images: Images, changes: dict) -> dict[str, Callable[[], object]]:
    """Set up a training by the recipe `balloon` with some changes."""
    trainer = make_trainer(recipe_of(setting, changes), images)
    loader = in_turns(make_loader(trainer.images, trainer.params, trainer.device, first_epoch=0), setting.batches)
    ready = list(loader)

    def train_on(batches: Iterable) -> None:
        trainer.train_epoch(1, batches, tqdm(disable=True))

    return {
        "training": lambda: train_on(loader),
        "steps": lambda: train_on(ready),
        "samples": lambda: deque(loader, maxlen=0),
    }


def our_recipe(setting: Setting, images: Images) -> dict[str, Callable[[], object]]:
    """Set up the training of the recipe with its own frozen parts and loss."""
    return {"training": our_training(setting, images, {})["training"]}


def effdet_training(setting: Setting, images: Images) -> dict[str, Callable[[], object]]:
    """Set up effdet's loop."""
    torch.set_num_threads(setting.threads)
    loop = EffdetLoop(network_spec(recipe_of(setting, {}).model, images), torch.device("cpu"))
    loader = in_turns(loop.loader(images, setting.batch_size, setting.workers), setting.batches)
    ready = list(loader)
    return {
        "training": lambda: loop.train_on(loader),
        "steps": lambda: loop.train_on(ready),
        "samples": lambda: deque(loader, maxlen=0),
    }


def make_rows(seconds: Seconds, images: int, workers: int) -> list[Row]:
    """Compare the sides; `images` is the number of a turn."""
    labels = {
        "training": "training, all weights",
        "steps": "its steps alone, on prepared batches",
        "samples": f"its samples alone, worker processes: {workers}",
    }
    rows = [
        rate_row(label, images, seconds["ours", kind], EFFDET, seconds["effdet", kind])
        for kind, label in labels.items()
    ]
    own, others = seconds["recipe", "training"], seconds["effdet", "training"]
    return [*rows, rate_row("training as in the recipe `balloon`", images, own, EFFDET, others)]


def main(arguments: list[str] | None = None, setting: Setting = DEFAULT, in_processes: bool = True) -> None:
    """Time all sides and write the results."""
    parser = make_parser(__doc__, ROUNDS)
    add_cpu_options(parser)
    options = parser.parse_args(arguments)
    setting = setting._replace(threads=options.threads)
    with benchmark_images(options.images, setting.images, 2 * setting.size) as images:
        check_count(parser, images, setting.batch_size)
        sides = {
            "ours": partial(our_training, setting, images, SAME_WORK),
            "effdet": partial(effdet_training, setting, images),
            "recipe": partial(our_recipe, setting, images),
        }
        seconds = alternate(sides, options.rounds, in_processes=in_processes)
    settings = setting._asdict() | {"rounds": options.rounds, "data": describe_images(options.images)}
    write_results(options.results, "training_step", settings, make_rows(seconds, setting.turn_images, setting.workers))


if __name__ == "__main__":
    main()
