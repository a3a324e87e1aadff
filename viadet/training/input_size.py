"""Training one network with inputs of several sizes."""

import torch
from effdet import DetBenchTrain
from effdet.efficientdet import Interpolate2d

from viadet.network.build import NetworkSpec, build_network
from viadet.training.loss import CompleteIoULoss


def set_input_size(bench: DetBenchTrain, spec: NetworkSpec, input_wh: tuple[int, int]) -> None:
    """Have a network and its loss take inputs of `input_wh` px from now on.

    effdet fixes two things by the input's size, none of them a weight: the anchors, and what the neck enlarges to.
    """
    with torch.random.fork_rng(devices=[]):  # the weights of this network are not used
        sized = DetBenchTrain(build_network(spec._replace(input_wh=input_wh)))
    sized_modules = dict(sized.model.named_modules())
    for name, module in bench.model.named_modules():
        if isinstance(module, Interpolate2d):
            module.size = sized_modules[name].size
    bench.anchors, bench.anchor_labeler = sized.anchors.to(bench.anchors.boxes.device), sized.anchor_labeler
    if isinstance(bench.loss_fn, CompleteIoULoss):
        bench.loss_fn.anchors = bench.anchors
