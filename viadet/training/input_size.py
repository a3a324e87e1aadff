"""Training one network with inputs of several sizes."""

import torch
from effdet import DetBenchTrain
from effdet.efficientdet import Interpolate2d
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from viadet.network.build import NetworkSpec, build_network
from viadet.training.loss import CompleteIoULoss


def set_input_size(bench: nn.Module, spec: NetworkSpec, input_wh: tuple[int, int]) -> None:
    """Have a network with its loss take inputs of `input_wh` px from now on.

    effdet fixes two things by the input's size, none of them a weight: the anchors, and what the neck enlarges to.

    Args:
        bench: effdet's DetBenchTrain, or DistributedDataParallel around it.
        spec: what the network is.
        input_wh: px.
    """
    bench = bench.module if isinstance(bench, DistributedDataParallel) else bench
    if bench.anchors.image_size == input_wh[::-1]:
        return
    with torch.random.fork_rng(devices=[]):  # the weights of this network are not used
        sized = DetBenchTrain(build_network(spec._replace(input_wh=input_wh)))
    bench.anchors, bench.anchor_labeler = sized.anchors.to(bench.anchors.boxes.device), sized.anchor_labeler
    sized_modules = dict(sized.model.named_modules())
    for name, module in bench.model.named_modules():
        if isinstance(module, Interpolate2d):
            module.size = sized_modules[name].size
    for module in bench.modules():
        if isinstance(module, CompleteIoULoss):
            module.anchors = bench.anchors
