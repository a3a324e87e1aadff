"""Time class activation maps by method: seconds an image, beside those of detecting in it.

    python -m benchmarks.cams [--images FOLDER COCO] [--threads N]

The maps of ten boxes of an untrained network at all levels of its neck; the boxes share one forward pass and their
gradients, which have a row of their own.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch

from benchmarks.images import Images, add_cpu_options, benchmark_images, describe_images
from benchmarks.timing import Row, Seconds, alternate, cost_row, make_parser, write_results
from viadet.annotations.coco import category_names
from viadet.detection.detector import Detector
from viadet.detection.settings import DetectSettings
from viadet.explanation.cams import CHANNEL_METHODS, EIGEN_METHODS, GRAD_CAM_METHODS, class_activation_maps
from viadet.explanation.explained_boxes import explain_image, single_image_sets
from viadet.network.build import backbone_normalisation, build_network, make_spec
from viadet.network.device import keep_freed_memory
from viadet.project.files import read_json
from viadet.project.params import GradCamParams, ModelParams

ROUNDS = 3
BOXES = 10  # the fewest that COCOeval, which matches them, can be limited to
DETECTING, GRADIENTS = "detecting in the image", "forward pass and gradients"
PARAMS = GradCamParams(
    methods=["HiResCAM"],
    target="score",
    normalise="image",
    score_threshold=0.0,  # an untrained network is sure of nothing
    max_boxes=BOXES,
    max_mistakes=0,
    max_images=1,
    measured_images=1,
    checked_images=1,
)


class Setting(NamedTuple):
    """What is explained."""

    network: str = "tf_efficientdet_lite0"
    size: int = 320  # px of the input
    threads: int = 2
    methods: tuple[str, ...] = (*GRAD_CAM_METHODS, *EIGEN_METHODS, *CHANNEL_METHODS)


DEFAULT = Setting()


def explaining(setting: Setting, images: Images) -> dict[str, Callable[[], object]]:
    """Set up as the stage `grad_cam` does."""
    keep_freed_memory()
    torch.set_num_threads(setting.threads)
    model = ModelParams(name=setting.network, init="random", image_size=setting.size, test_size=None, anchor_scale=4.0)
    coco = read_json(images.coco)
    categories = list(category_names(coco).values())
    spec = make_spec(model, categories, backbone_normalisation(setting.network))
    torch.manual_seed(0)
    network = build_network(spec).eval()
    detector = Detector(network, spec)
    few = Detector(network, spec, DetectSettings(spec.input_wh, 0.0, BOXES, None))
    path = images.folder / coco["images"][0]["file_name"]
    (image_coco,) = single_image_sets(coco)
    image_coco = image_coco | {"annotations": []}  # else missed objects would be explained, too

    def explain() -> object:
        return explain_image(few, images.folder, image_coco, PARAMS, seed=0)

    explained = explain()
    maps_of = partial(class_activation_maps, network=network, forward_pass=explained.forward_pass)
    turns = {method: partial(maps_of, method, boxes=explained.detections) for method in setting.methods}
    return {DETECTING: lambda: detector(path), GRADIENTS: explain} | turns


def make_rows(seconds: Seconds) -> list[Row]:
    """Compare each kind of work with detecting."""
    detecting = seconds["ours", DETECTING]
    names = {kind: kind if kind == GRADIENTS else f"maps of {kind}" for _, kind in seconds if kind != DETECTING}
    return [cost_row(name, "s/image", seconds["ours", kind], DETECTING, detecting) for kind, name in names.items()]


def main(arguments: list[str] | None = None, setting: Setting = DEFAULT, in_processes: bool = True) -> None:
    """Time all methods and write the results."""
    parser = make_parser(__doc__, ROUNDS)
    add_cpu_options(parser)
    options = parser.parse_args(arguments)
    setting = setting._replace(threads=options.threads)
    with benchmark_images(options.images, 1, 2 * setting.size) as images:
        sides = {"ours": partial(explaining, setting, images)}
        seconds = alternate(sides, options.rounds, in_processes=in_processes)
    settings = {"network": setting.network, "size": setting.size, "threads": setting.threads, "boxes": BOXES}
    settings |= {"rounds": options.rounds, "data": describe_images(options.images)}
    write_results(options.results, "cams", settings, make_rows(seconds))


if __name__ == "__main__":
    main()
