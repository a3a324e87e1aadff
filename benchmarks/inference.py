"""Time detecting in image files, in batches and in single images: ours against effdet's DetBenchPredict.

    python -m benchmarks.inference [--model FOLDER] [--images FOLDER COCO] [--threads N]

Both run the same network on the CPU, in channels_last and with all instructions that the CPU has, start from the files,
and give the network as many images at once: those that ours finds fastest on a CPU. Ours is viadet.load; effdet's is
its data set, transforms, collate and predict bench. In batches, both decode images beside the network, with as many
workers: ours in a thread for each core, effdet's in as many processes of its loader, which wait between turns. A single
image is decoded before the network runs, by both. The size is that of the model's evaluation, if it was evaluated. An
untrained network, the default, is the hardest case for non-maximum suppression: its 5000 best anchors are all
candidates. Ours also averages nearly equal boxes (voting), and keeps freed memory by glibc's setting, as
`viadet predict` does.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from effdet import DetBenchPredict
from effdet.data import DetectionDatset, create_parser
from effdet.data.loader import DetectionFastCollate
from effdet.data.parsers import CocoParserCfg
from effdet.data.transforms import transforms_coco_eval
from torch.utils.data import DataLoader, Subset

import viadet
from benchmarks.images import Images, add_cpu_options, benchmark_images, describe_images
from benchmarks.timing import Row, Seconds, alternate, make_parser, rate_row, write_results
from benchmarks.training import effdets_own
from viadet.detection.settings import read_settings
from viadet.detection.sized_network import inputs_at_once
from viadet.network.build import backbone_normalisation, build_network, make_spec
from viadet.network.device import keep_freed_memory
from viadet.network.weights import load_network, read_spec, save_network
from viadet.project.files import read_json
from viadet.project.params import ModelParams

ROUNDS = 5


class Setting(NamedTuple):
    """What detects, and how much of it in one turn."""

    network: str = "tf_efficientdet_lite0"  # of an untrained one
    size: int = 768  # px of its input
    images: int = 16  # of a turn in batches
    single_images: int = 4  # of a turn in single images
    workers: int = os.cpu_count() or 1  # that decode beside the network: our threads
    threads: int = 2


DEFAULT = Setting()


def save_untrained(setting: Setting, folder: Path) -> None:
    """Write the model folder of an untrained network for one category."""
    model = ModelParams(name=setting.network, init="random", image_size=setting.size, test_size=None, anchor_scale=4.0)
    spec = make_spec(model, ["balloon"], backbone_normalisation(setting.network))
    torch.manual_seed(0)
    folder.mkdir()
    save_network(build_network(spec), spec, folder)


def input_wh_of(model: Path) -> tuple[int, int]:
    """Width and height of the input, px, at which `viadet.load` detects."""
    settings = read_settings(model)
    return settings.test_wh if settings else read_spec(model).input_wh


def batch_size_of(model: Path) -> int:
    """Number of images that ours gives the network at once."""
    return inputs_at_once(input_wh_of(model), torch.device("cpu"))


def our_detecting(setting: Setting, images: Images, model: Path) -> dict[str, Callable[[], object]]:
    """Set up as `viadet predict` does."""
    keep_freed_memory()
    torch.set_num_threads(setting.threads)
    detector = viadet.load(model, device="cpu")
    paths = [images.folder / entry["file_name"] for entry in read_json(images.coco)["images"]]
    return {
        "batches": lambda: detector(paths),
        "single": lambda: [detector(path) for path in paths[: setting.single_images]],
    }


def effdet_detecting(setting: Setting, images: Images, model: Path) -> dict[str, Callable[[], object]]:
    """Set up effdet's loader and predict bench, in the form that is fastest."""
    torch.set_num_threads(setting.threads)
    input_wh = input_wh_of(model)
    network, spec = load_network(model, torch.device("cpu"), input_wh)
    bench = DetBenchPredict(effdets_own(network)).eval()
    mean, std = (255 * torch.tensor(values).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
    parser = create_parser("coco", cfg=CocoParserCfg(ann_filename=str(images.coco)))
    transform = transforms_coco_eval(input_wh[::-1], use_prefetcher=True)
    data_set = DetectionDatset(images.folder, parser=parser, transform=transform)

    first = Subset(data_set, range(min(setting.single_images, len(data_set))))
    # workers start in the round that is not timed
    workers = {"num_workers": setting.workers, "persistent_workers": setting.workers > 0}
    loaders = {
        "batches": DataLoader(data_set, batch_size_of(model), collate_fn=DetectionFastCollate(), **workers),
        "single": DataLoader(first, 1, collate_fn=DetectionFastCollate()),
    }

    def detect(loader: DataLoader) -> None:
        for pixels, targets in loader:
            inputs = pixels.float().sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                bench(inputs, targets)

    return {kind: partial(detect, loader) for kind, loader in loaders.items()}


def make_rows(seconds: Seconds, batch_size: int, images: int, single_images: int) -> list[Row]:
    """Compare both sides; `images` and `single_images` are the numbers of a turn."""
    turns = {
        "batches": (f"detecting, batches of {batch_size}", images),
        "single": ("detecting, one image at a time", single_images),
    }
    return [
        rate_row(what, count, seconds["ours", kind], "effdet's DetBenchPredict", seconds["effdet", kind])
        for kind, (what, count) in turns.items()
    ]


def main(arguments: list[str] | None = None, setting: Setting = DEFAULT, in_processes: bool = True) -> None:
    """Time both sides and write the results."""
    parser = make_parser(__doc__, ROUNDS)
    add_cpu_options(parser)
    parser.add_argument("--model", type=Path, help="folder of a trained model; default: an untrained network")
    options = parser.parse_args(arguments)
    setting = setting._replace(threads=options.threads)
    with benchmark_images(options.images, setting.images, 2 * setting.size) as images:
        model = options.model and options.model.absolute()
        if model is None:
            model = images.work_dir / "model"
            save_untrained(setting, model)
        sides = {
            "ours": partial(our_detecting, setting, images, model),
            "effdet": partial(effdet_detecting, setting, images, model),
        }
        seconds = alternate(sides, options.rounds, in_processes=in_processes)
        spec, input_wh, count = read_spec(model), input_wh_of(model), len(read_json(images.coco)["images"])
        batch_size = batch_size_of(model)
    rows = make_rows(seconds, batch_size, count, min(count, setting.single_images))
    weights = "trained" if options.model else "untrained"
    settings = setting._asdict() | {"network": spec.name, "size": max(input_wh), "weights": weights}
    settings |= {
        "images": count,
        "batch_size": batch_size,
        "rounds": options.rounds,
        "data": describe_images(options.images),
    }
    write_results(options.results, "inference", settings, rows)


if __name__ == "__main__":
    main()
