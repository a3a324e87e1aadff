"""The moving average of a network's weights, which is what detects in the end."""

import torch
from timm.utils import ModelEmaV3
from torch import nn


class WeightAverage(ModelEmaV3):
    """timm's exponential moving average of a network's weights, in two operations a step.

    timm collects both networks' states anew for each step, and copies each counter by itself.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Start from a copy of a network; `update` follows the same network, whose tensors stay where they are."""
        super().__init__(network, decay=decay, use_warmup=True)
        pairs = list(zip(self.module.state_dict().values(), network.state_dict().values(), strict=True))
        self.averages, self.weights = zip(*[pair for pair in pairs if pair[0].is_floating_point()], strict=True)
        self.counters, self.counted = zip(*[pair for pair in pairs if not pair[0].is_floating_point()], strict=True)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights after a step, counted from 1."""
        torch._foreach_lerp_(self.averages, self.weights, weight=1 - self.get_decay(step))
        torch._foreach_copy_(self.counters, self.counted)
