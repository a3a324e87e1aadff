"""The frozen part of the backbone, computed with less work than what learns."""

from itertools import pairwise

import torch
from timm.layers import Conv2dSame
from torch import nn
from torch.nn.utils import skip_init
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(backbone: nn.Module) -> None:
    """Have each frozen convolution do the work of the frozen batch norm behind it; the result differs by rounding.

    Only how they compute changes: modules, weights and their names stay. Call it again when frozen weights change.
    """
    for parent in backbone.modules():
        for convolution, norm in pairwise(parent.children()):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and is_frozen(convolution, norm):
                convolution.forward = without_padded_copy(fuse_conv_bn_eval(convolution, norm)).forward
                norm.forward = norm.act.forward


def is_frozen(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> bool:
    """Tell whether neither they nor the norm's statistics learn."""
    parameters = [*convolution.parameters(), *norm.parameters()]
    return not norm.training and not any(parameter.requires_grad for parameter in parameters)


def without_padded_copy(convolution: nn.Conv2d) -> nn.Conv2d:
    """Make a frozen convolution that needs no padded copy of its input, which must have even sides.

    A convolution that halves such an input as in TensorFlow pads its right and lower edges by one px more than the
    others, for which timm's `Conv2dSame` copies the whole input. A kernel that begins with a row and a column of zeros
    gives the same with equal padding, which torch's convolution does by itself. Inputs of a training are multiples of
    32 px, so that the first five halvings have even sides. This was measured on CPUs only, and is done there only.
    """
    weight = convolution.weight
    if not isinstance(convolution, Conv2dSame) or convolution.stride != (2, 2) or weight.device.type != "cpu":
        return convolution
    height, width = convolution.kernel_size
    widened = skip_init(
        nn.Conv2d,
        convolution.in_channels,
        convolution.out_channels,
        (height + 1, width + 1),
        stride=2,
        padding=(height // 2, width // 2),
        groups=convolution.groups,
    )
    widened.weight.data = nn.functional.pad(weight.detach(), (1, 0, 1, 0)).to(memory_format=torch.channels_last)
    widened.bias.data = convolution.bias.detach()
    return widened.eval().requires_grad_(False)
