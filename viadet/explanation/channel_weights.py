"""Channel weights of AblationCAM and ScoreCAM: one forward pass a channel, for all boxes of an image together."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_hook

from viadet.detection.sized_network import inputs_at_once
from viadet.explanation.targets import ForwardPass, Target
from viadet.network.anchors import flat_outputs


def ablation_weights(network: nn.Module, forward_pass: ForwardPass, targets: list[Target], level: int) -> np.ndarray:
    """Compute AblationCAM's weights [targets, C] (Desai and Ramaswamy 2020): what a channel set to 0 costs a target.

    The paper divides by the target's value. That only scales a map, but would invert it where a logit is negative.
    """
    module = _module_of_level(network, forward_pass, level)

    def values_without(start: int, stop: int) -> torch.Tensor:
        def ablate(_module: nn.Module, _inputs: tuple, output: torch.Tensor) -> torch.Tensor:
            output = output.clone()
            output[torch.arange(stop - start), torch.arange(start, stop)] = 0
            return output

        with module.register_forward_hook(ablate):
            pyramid = network.fpn([feature.expand(stop - start, -1, -1, -1) for feature in forward_pass.features])
        return _target_values(targets, *flat_outputs(network.class_net(pyramid), network.box_net(pyramid)))

    intact_values = _target_values(targets, forward_pass.logits, forward_pass.codes).detach()
    ablated_values = _for_all_channels(values_without, forward_pass.pyramid[level].shape[1], forward_pass.batch)
    return (intact_values[:, None] - ablated_values).cpu().numpy()


def score_weights(network: nn.Module, forward_pass: ForwardPass, targets: list[Target], level: int) -> np.ndarray:
    """Compute ScoreCAM's weights [targets, C] (Wang et al. 2020): softmax of targets of images masked by a channel."""
    batch, channels = forward_pass.batch, forward_pass.pyramid[level].detach()[0]
    # Corners aligned, as grad-cam does it.
    masks = functional.interpolate(channels[None], batch.shape[-2:], mode="bilinear", align_corners=True)[0]
    low, high = masks.amin((1, 2), keepdim=True), masks.amax((1, 2), keepdim=True)
    masks = (masks - low) / (high - low + 1e-8)

    def values_masked(start: int, stop: int) -> torch.Tensor:
        return _target_values(targets, *flat_outputs(*network(batch * masks[start:stop, None])))

    return _for_all_channels(values_masked, len(channels), batch).softmax(1).cpu().numpy()


def _target_values(targets: list[Target], logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    return torch.stack([target.value(logits, codes) for target in targets])


def _for_all_channels(values_of: Callable[[int, int], torch.Tensor], count: int, batch: torch.Tensor) -> torch.Tensor:
    """Call a function for the channels from `start` to before `stop`, some at a time; [targets, count]."""
    step = inputs_at_once((batch.shape[3], batch.shape[2]), batch.device)
    with torch.no_grad():
        parts = [values_of(start, min(start + step, count)) for start in range(0, count, step)]
    return torch.cat(parts, 1)


def _module_of_level(network: nn.Module, forward_pass: ForwardPass, level: int) -> nn.Module:
    """Find the module of the neck whose output is a level: in a BiFPN node 3 + level of the last cell."""
    outputs = []

    def record(module: nn.Module, _inputs: tuple, output: torch.Tensor | list) -> None:
        outputs.append((module, output))

    with torch.no_grad(), register_module_forward_hook(record):
        pyramid = network.fpn(list(forward_pass.features))
    return next(module for module, output in outputs if output is pyramid[level])
