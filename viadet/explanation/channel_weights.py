"""AblationCAM and ScoreCAM: the weight of each channel, by a pass a channel for all boxes of an image."""

from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from viadet.explanation.targets import ForwardPass, Target
from viadet.network.boxes import flat_outputs

CHUNK = 8  # inputs a pass, where a method needs many


def ablated_values(network: nn.Module, passed: ForwardPass, targets: list[Target], level: int) -> np.ndarray:
    """AblationCAM's weights (Desai and Ramaswamy 2020): what a target loses when a channel is set to 0, [targets, C].

    The paper divides by the target's value, which scales a map as a whole; a logit may be negative and would turn it.
    """
    channels = passed.pyramid[level].shape[1]
    module = _maker_of(network, passed, level)

    def values(start: int, stop: int) -> torch.Tensor:
        def ablate(_module: nn.Module, _inputs: tuple, output: torch.Tensor) -> torch.Tensor:
            output = output.clone()
            output[torch.arange(stop - start), torch.arange(start, stop)] = 0
            return output

        with _hooked(module, ablate):
            pyramid = network.fpn([feature.expand(stop - start, -1, -1, -1) for feature in passed.features])
        return _values(targets, *flat_outputs(network.class_net(pyramid), network.box_net(pyramid)))

    whole = _values(targets, passed.logits, passed.codes).detach()
    return (whole[:, None] - _in_chunks(values, channels)).cpu().numpy()


def masked_values(network: nn.Module, passed: ForwardPass, targets: list[Target], level: int) -> np.ndarray:
    """ScoreCAM's weights (Wang et al. 2020): targets of the image seen through each channel, [targets, C]."""
    size = passed.batch.shape[-2:]
    channels = passed.pyramid[level].detach()[0]
    # As grad-cam does it, corners aligned.
    masks = functional.interpolate(channels[None], size, mode="bilinear", align_corners=True)[0]
    low, high = masks.amin((1, 2), keepdim=True), masks.amax((1, 2), keepdim=True)
    masks = (masks - low) / (high - low + 1e-8)

    def values(start: int, stop: int) -> torch.Tensor:
        return _values(targets, *flat_outputs(*network(passed.batch * masks[start:stop, None])))

    return _in_chunks(values, len(channels)).softmax(1).cpu().numpy()


def _values(targets: list[Target], logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    return torch.stack([target.value(logits, codes) for target in targets])


def _in_chunks(values: Callable[[int, int], torch.Tensor], count: int) -> torch.Tensor:
    with torch.no_grad():
        parts = [values(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    return torch.cat(parts, 1)


def _maker_of(network: nn.Module, passed: ForwardPass, level: int) -> nn.Module:
    """Find the module of the neck whose output is a level: node 3 + level of BiFPN's last cell, elsewhere in others."""
    made = []
    hooks = [
        module.register_forward_hook(lambda module, _, output: made.append((module, output)))
        for module in network.fpn.modules()
    ]
    with torch.no_grad():
        pyramid = network.fpn(list(passed.features))
    for hook in hooks:
        hook.remove()
    return next(module for module, output in made if output is pyramid[level])


@contextmanager
def _hooked(module: nn.Module, hook: Callable):  # noqa: ANN202 - a context manager without a value
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
