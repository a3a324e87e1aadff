"""What trains in benchmarks: this project's trainer by a recipe, effdet's own loop; and loaders that work in turns."""

import contextlib
import random
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, repeat
from pathlib import Path

import torch
from effdet import DetBenchTrain, EfficientDet
from effdet.anchors import AnchorLabeler, Anchors
from effdet.data import DetectionDatset, create_parser
from effdet.data.loader import DetectionFastCollate, PrefetchLoader
from effdet.data.parsers import CocoParserCfg
from effdet.data.transforms import transforms_coco_train
from torch.utils.data import DataLoader

from benchmarks.images import Images
from viadet.annotations.coco import category_names
from viadet.augmentation.training_set import TrainingSet
from viadet.network.build import NetworkSpec, backbone_normalisation, build_network, make_spec
from viadet.network.device import keep_freed_memory, pick_precision, train_device
from viadet.project.files import read_json
from viadet.project.params import ModelParams, Recipe
from viadet.training.checkpoint import Checkpoints
from viadet.training.trainer import Trainer

# of one size, for steps outside of a whole training; as many epochs as a loader could be asked for
SINGLE_STEPS = {"epochs": 10_000, "small_share": 0.0, "lr": 0.0001, "warmup_epochs": 0}
# to train what effdet's loop trains: all of the network, with effdet's loss
SAME_WORK = {"frozen_stages": 0, "freeze_batch_norm": False, "box_loss": "huber"}
LEARNING_RATE = 0.0001


def untrained(name: str, size: int) -> dict[str, object]:
    """Change the section `model` to an untrained network with inputs of `size` px."""
    return {"name": name, "init": "random", "image_size": size, "test_size": None}


def network_spec(model: ModelParams, images: Images) -> NetworkSpec:
    """Describe a network for the categories of the images."""
    categories = list(category_names(read_json(images.coco)).values())
    return make_spec(model, categories, backbone_normalisation(model.name))


def make_trainer(recipe: Recipe, images: Images) -> Trainer:
    """Set up a training with random weights, for the rest as the stage `train` does."""
    keep_freed_memory()
    device = train_device(recipe.train)
    spec = network_spec(recipe.model, images)
    torch.manual_seed(recipe.train.seed)
    network = build_network(spec)
    checkpoints = Checkpoints(images.work_dir / "checkpoint", "0" * 64)
    return Trainer(network, spec, make_training_set(recipe, images), recipe.train, device, checkpoints)


def make_training_set(recipe: Recipe, images: Images) -> TrainingSet:
    """Decode the images in a folder of its own: the files have the same name in all processes."""
    spec = network_spec(recipe.model, images)
    folder = Path(tempfile.mkdtemp(dir=images.work_dir))
    (folder / "data").mkdir()
    with contextlib.chdir(folder):
        return TrainingSet(images.coco, images.folder, recipe.train, spec.input_wh, spec.fill_rgb)


def effdets_own(network: EfficientDet) -> EfficientDet:
    """Build effdet's own network with the weights of one of ours, whose neck adds maps without stacking them."""
    own = EfficientDet(network.config, pretrained_backbone=False)
    own.load_state_dict(network.state_dict())
    return own.to(memory_format=torch.channels_last)


class EffdetLoop:
    """A plain loop around effdet's `DetBenchTrain`, in the form that is fastest.

    The network is in channels_last, CUDA computes in mixed precision and gets batches by effdet's prefetcher, anchors
    are labelled in the loader, and no value is read from the device within the loop.
    """

    def __init__(self, spec: NetworkSpec, device: torch.device) -> None:
        """Build the network, and set torch as effdet's training script does."""
        self.spec, self.device, self.precision = spec, device, torch.float32
        if device.type == "cuda":
            torch.use_deterministic_algorithms(False)
            torch.backends.cudnn.benchmark = torch.backends.cudnn.allow_tf32 = True
            self.precision = pick_precision("auto", device)
        torch.manual_seed(0)
        network = effdets_own(build_network(spec))
        self.bench = DetBenchTrain(network, create_labeler=False).to(device).train()
        self.optimizer = torch.optim.AdamW(self.bench.parameters(), lr=LEARNING_RATE)

    def loader(self, images: Images, batch_size: int, workers: int) -> DataLoader:
        """Make the loader that effdet's `create_loader` makes for training, without its prefetcher."""
        random.seed(0)  # effdet's transforms draw from Python's generator
        parser = create_parser("coco", cfg=CocoParserCfg(ann_filename=str(images.coco)))
        transform = transforms_coco_train(max(self.spec.input_wh), use_prefetcher=True)
        bench = self.bench
        labeler = AnchorLabeler(Anchors.from_config(bench.config), bench.num_classes, match_threshold=0.5)
        return DataLoader(
            DetectionDatset(images.folder, parser=parser, transform=transform),
            batch_size=batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            pin_memory=self.device.type == "cuda",
            collate_fn=DetectionFastCollate(anchor_labeler=labeler),
        )

    def normalised(self, batches: Iterable) -> Iterable:
        """Move batches to the device and normalise them, on CUDA by effdet's prefetcher."""
        if self.device.type == "cuda":
            return PrefetchLoader(batches, self.spec.mean, self.spec.std)
        mean, std = (255 * torch.tensor(values).view(1, 3, 1, 1) for values in (self.spec.mean, self.spec.std))
        return ((pixels.float().sub_(mean).div_(std), targets) for pixels, targets in batches)

    def train_on(self, batches: Iterable) -> None:
        """Take a step for each batch."""
        for pixels, targets in self.normalised(batches):
            inputs = pixels.contiguous(memory_format=torch.channels_last)
            self.optimizer.zero_grad()
            with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
                loss = self.bench(inputs, targets)["loss"]
            loss.backward()
            self.optimizer.step()
        loss.item()


@dataclass
class Turn:
    """So many of the batches that come next, each time it is iterated."""

    batches: Iterator
    count: int

    def __iter__(self) -> Iterator:
        """Go on where the last turn ended."""
        return islice(self.batches, self.count)


def in_turns(loader: DataLoader, batches: int) -> DataLoader:
    """Have a loader make just so many batches whenever it is iterated; between, its workers stay and do nothing.

    A usual loader's workers would go on with the next batches while another side is timed. Each turn begins with no
    batch made, on all sides.
    """
    return DataLoader(
        loader.dataset,
        batch_sampler=Turn(chain.from_iterable(repeat(loader.batch_sampler)), batches),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        generator=torch.Generator(),
        multiprocessing_context=loader.multiprocessing_context,
        persistent_workers=loader.num_workers > 0,
    )
