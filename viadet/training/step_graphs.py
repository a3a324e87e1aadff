"""CUDA graphs of a training's steps: thousands of kernels, started by one call of the CPU."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from viadet.augmentation.training_set import NO_OBJECT, Targets

WARM_UP_STEPS = 3  # before a capture, as PyTorch recommends: libraries choose their algorithms in the first ones
LEAST_BOXES = 32  # that a graph has room for; then twice as many and so on, as each number needs a graph of its own


class CapturedStep(NamedTuple):
    """A graph with the tensors that it reads and those that it writes, always at the same place in memory."""

    graph: torch.cuda.CUDAGraph
    images: torch.Tensor
    targets: Targets
    losses: torch.Tensor
    gradients: list[torch.Tensor | None]  # of all parameters


class StepGraphs:
    """Forward pass, labels, loss and backward pass of a step as one CUDA graph for each form of a batch.

    Started one by one, the kernels of a small network take the CPU longer than the GPU, which waits. A graph replays
    them with the same inputs' places, so that images and boxes are copied there; no operation of a step may depend on
    the number of objects. Random numbers (drop path) are new in each replay. After
    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs, "whole-network capture".
    """

    def __init__(self, backward: Callable[[torch.Tensor, Targets], torch.Tensor], network: nn.Module) -> None:
        """Take what a step does but for the update of the weights.

        Args:
            backward: of images and targets on the GPU; leaves gradients, returns losses; no gradients before.
            network: whose gradients, statistics and weights it uses.
        """
        self.backward, self.network = backward, network
        self.steps: dict[tuple[int, ...], CapturedStep] = {}
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, images: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Compute a batch's gradients and losses.

        Raises:
            RuntimeError: the step can't be captured; weights, statistics and random numbers are as before.
        """
        targets = with_room(targets)
        key = (*images.shape, targets["cls"].shape[1])
        if key not in self.steps:
            # graphs for inputs of other sizes are not needed any more, and refer to anchors that are gone
            self.steps = {other: step for other, step in self.steps.items() if other[:-1] == key[:-1]}
            self.steps[key] = self.capture(images, targets)
        step = self.steps[key]
        step.images.copy_(images, non_blocking=True)
        for name, values in targets.items():
            step.targets[name].copy_(values, non_blocking=True)
        step.graph.replay()
        for parameter, gradient in zip(self.network.parameters(), step.gradients, strict=True):
            parameter.grad = gradient
        return step.losses.clone()

    def capture(self, images: torch.Tensor, targets: Targets) -> CapturedStep:
        """Capture the graph of a batch like this one."""
        device = next(self.network.parameters()).device
        images = images.to(device, copy=True)
        targets = {name: values.to(device, copy=True) for name, values in targets.items()}
        buffers, random_state = [buffer.clone() for buffer in self.network.buffers()], torch.cuda.get_rng_state(device)
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)
        try:
            stream.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP_STEPS):
                    self.backward(images, targets)
                    self.network.zero_grad(set_to_none=True)
            torch.cuda.current_stream(device).wait_stream(stream)
            # by default, the loader's thread that pins memory would spoil it
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                losses = self.backward(images, targets)
        finally:
            gradients = [parameter.grad for parameter in self.network.parameters()]
            self.network.zero_grad(set_to_none=True)
            with torch.no_grad():
                for buffer, before in zip(self.network.buffers(), buffers, strict=True):
                    buffer.copy_(before)  # the steps that warmed up are not part of the training
            torch.cuda.set_rng_state(random_state, device)
        return CapturedStep(graph, images, targets, losses, gradients)


def with_room(targets: Targets) -> Targets:
    """Pad targets to the next number of boxes that there is a graph for: batches of few numbers need few graphs."""
    boxes_yxyx, labels = targets["bbox"], targets["cls"]
    room = LEAST_BOXES
    while room < labels.shape[1]:
        room *= 2
    missing = room - labels.shape[1]
    return {
        "bbox": nn.functional.pad(boxes_yxyx, (0, 0, 0, missing), value=NO_OBJECT),
        "cls": nn.functional.pad(labels, (0, missing), value=NO_OBJECT),
    }
