"""Time training: our samples, steps and both together against effdet's data set, transforms, collate and DetBenchTrain.

    python -m benchmarks.training_step [--images FOLDER COCO] [--threads N]

All sides train the same network on the same images in batches of the same size, on the CPU. Samples are prepared in the
training's own process, one after the other: workers would go on while another side is timed. Our augmentation is that
of the recipe `balloon`, copy-paste along polygons and colours included; effdet's mirrors and scales. Our step also
clips gradients, checks that they are finite and averages the weights. effdet's own create_loader needs CUDA, as it
normalises there; here its loop does the same on the CPU.
"""

import contextlib
import random
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from typing import NamedTuple

import torch
from effdet import DetBenchTrain
from effdet.anchors import AnchorLabeler, Anchors
from effdet.data import DetectionDatset, create_parser
from effdet.data.loader import DetectionFastCollate
from effdet.data.parsers import CocoParserCfg
from effdet.data.transforms import transforms_coco_train
from torch.utils.data import DataLoader
from tqdm import tqdm

from benchmarks.images import Images, add_image_options, benchmark_images, describe_images
from benchmarks.timing import Row, Seconds, alternate, make_parser, rate_row, write_results
from viadet.augmentation.training_set import TrainingSet
from viadet.network.build import NetworkSpec, backbone_normalisation, build_network, make_spec
from viadet.network.device import keep_freed_memory, pick_device
from viadet.project.files import read_json
from viadet.project.params import ModelParams, Recipe, load_yaml
from viadet.training.checkpoint import Checkpoints
from viadet.training.loader import make_loader
from viadet.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 5
# single steps of one size, with samples made in this process
OUTSIDE_A_TRAINING = {"small_share": 0.0, "workers": 0, "lr": 0.0001, "warmup_epochs": 0}
# to train what effdet's loop trains: all of the network, with effdet's loss
SAME_WORK = {"frozen_stages": 0, "freeze_batch_norm": False, "box_loss": "huber"}


class Setting(NamedTuple):
    """What is trained, and how much of it in one turn."""

    network: str = "tf_efficientdet_d0"
    size: int = 512  # px of the input
    batch_size: int = 4
    batches: int = 2  # of a turn
    images: int = 16
    threads: int = 2

    @property
    def turn_images(self) -> int:
        """Number of images of a turn."""
        return self.batches * self.batch_size


DEFAULT = Setting()


def network_spec(setting: Setting, images: Images) -> NetworkSpec:
    """Describe the network."""
    model = ModelParams(name=setting.network, init="random", image_size=setting.size, test_size=None, anchor_scale=4.0)
    categories = [category["name"] for category in read_json(images.coco)["categories"]]
    return make_spec(model, categories, backbone_normalisation(setting.network))


def our_training(setting: Setting, images: Images, changes: dict) -> dict[str, Callable[[], object]]:
    """Set up a training as the stage `train` does, by the recipe `balloon` with some changes."""
    keep_freed_memory()
    sections = load_yaml((ROOT / "params.yaml").read_text(encoding="utf-8"))["balloon"]
    sections["train"].update(batch_size=setting.batch_size, **OUTSIDE_A_TRAINING, **changes)
    params = Recipe.model_validate(sections).train
    device = pick_device("cpu", params.deterministic, params.tf32, setting.threads)
    spec = network_spec(setting, images)
    torch.manual_seed(0)
    network = build_network(spec)
    with contextlib.chdir(images.work_dir):
        data_set = TrainingSet(images.coco, images.folder, params, spec.input_wh, spec.fill_rgb)
    checkpoints = Checkpoints(images.work_dir / "checkpoint", "0" * 64)
    trainer = Trainer(network, spec, data_set, params, device, checkpoints)
    batches = iter(make_loader(data_set, params, device, first_epoch=0))

    def train_on(source: Iterable) -> None:
        trainer.train_epoch(1, islice(source, setting.batches), tqdm(disable=True))

    ready = [next(batches) for _ in range(setting.batches)]
    return {
        "samples": lambda: deque(islice(batches, setting.batches), maxlen=0),
        "steps": lambda: train_on(ready),
        "training": lambda: train_on(batches),
    }


def our_recipe(setting: Setting, images: Images) -> dict[str, Callable[[], object]]:
    """Set up the training of the recipe with its own frozen parts and loss."""
    return {"training": our_training(setting, images, {})["training"]}


def effdet_loader(setting: Setting, images: Images, bench: DetBenchTrain) -> DataLoader:
    """Make the loader that effdet's create_loader makes for training, without its prefetcher."""
    random.seed(0)  # effdet's transforms draw from Python's generator
    parser = create_parser("coco", cfg=CocoParserCfg(ann_filename=str(images.coco)))
    transform = transforms_coco_train(setting.size, use_prefetcher=True)
    labeler = AnchorLabeler(Anchors.from_config(bench.config), bench.num_classes, match_threshold=0.5)
    return DataLoader(
        DetectionDatset(images.folder, parser=parser, transform=transform),
        batch_size=setting.batch_size,
        shuffle=True,
        drop_last=True,
        collate_fn=DetectionFastCollate(anchor_labeler=labeler),
    )


def effdet_training(setting: Setting, images: Images, channels_last: bool = False) -> dict[str, Callable[[], object]]:
    """Set up a plain loop around effdet's own parts; `channels_last` is an order that effdet does not choose itself."""
    torch.set_num_threads(setting.threads)
    order = torch.channels_last if channels_last else torch.contiguous_format
    spec = network_spec(setting, images)
    torch.manual_seed(0)
    bench = DetBenchTrain(build_network(spec).to(memory_format=order), create_labeler=False).train()
    optimizer = torch.optim.AdamW(bench.parameters(), lr=0.0001)
    mean, std = (255 * torch.tensor(values).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
    loader = effdet_loader(setting, images, bench)
    batches = chain.from_iterable(repeat(loader))

    def train_on(source: Iterable) -> None:
        for pixels, targets in islice(source, setting.batches):
            inputs = pixels.float().sub_(mean).div_(std).contiguous(memory_format=order)
            optimizer.zero_grad()
            loss = bench(inputs, targets)["loss"]
            loss.backward()
            optimizer.step()
            loss.item()

    if channels_last:
        return {"training": lambda: train_on(batches)}
    ready = [next(batches) for _ in range(setting.batches)]
    return {
        "samples": lambda: deque(islice(batches, setting.batches), maxlen=0),
        "steps": lambda: train_on(ready),
        "training": lambda: train_on(batches),
    }


def make_rows(seconds: Seconds, images: int) -> list[Row]:
    """Compare the sides; `images` is the number of a turn."""
    labels = {
        "training": "training, all weights",
        "steps": "its steps alone, on prepared batches",
        "samples": "its samples alone, in one process",
    }
    rows = [
        rate_row(label, images, seconds["ours", kind], "effdet's own way", seconds["effdet", kind])
        for kind, label in labels.items()
    ]
    for what, side in (("training, all weights", "ours"), ("training as in the recipe `balloon`", "recipe")):
        for reference, other in (("effdet's own way", "effdet"), ("effdet's in channels_last", "effdet_last")):
            if (side, other) != ("ours", "effdet"):
                own, others = seconds[side, "training"], seconds[other, "training"]
                rows.append(rate_row(what, images, own, reference, others))
    return rows


def main(arguments: list[str] | None = None, setting: Setting = DEFAULT, in_processes: bool = True) -> None:
    """Time all sides and write the results."""
    parser = make_parser(__doc__, ROUNDS)
    add_image_options(parser)
    options = parser.parse_args(arguments)
    setting = setting._replace(threads=options.threads)
    with benchmark_images(options.images, setting.images, 2 * setting.size) as images:
        if len(read_json(images.coco)["images"]) < setting.batch_size:
            parser.error(f"--images: {options.images[1]} has fewer images than a batch, {setting.batch_size}")
        sides = {
            "ours": partial(our_training, setting, images, SAME_WORK),
            "effdet": partial(effdet_training, setting, images),
            "recipe": partial(our_recipe, setting, images),
            "effdet_last": partial(effdet_training, setting, images, channels_last=True),
        }
        seconds = alternate(sides, options.rounds, in_processes=in_processes)
    settings = setting._asdict() | {"rounds": options.rounds, "data": describe_images(options.images)}
    write_results(options.results, "training_step", settings, make_rows(seconds, setting.turn_images))


if __name__ == "__main__":
    main()
