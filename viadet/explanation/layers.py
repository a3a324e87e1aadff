"""The outputs of any layer of the network for an image: finding it by its name, recording what it puts out."""

import math
from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import nn

from viadet.network.build import level_names
from viadet.project.errors import UserError


def layer_outputs(network: nn.Module, batch: torch.Tensor, names: list[str]) -> list[list[tuple[str, torch.Tensor]]]:
    """Run the network on one image and collect the outputs of the named layers.

    Args:
        network: in eval mode.
        batch: normalised, [1, 3, H, W].
        names: `backbone`, `neck`, one of their levels (C3 to C5, P3 to P7), or the path of a module.

    Returns:
        For each name its outputs, each with its own title, float32 [C, h, w].

    Raises:
        UserError: no layer has that name, or its output has no channels of maps.
    """
    levels = _level_names_by_group(network)
    group_of = {level: group for group in levels for level in levels[group]}
    modules = dict(network.named_modules()) | {"backbone": network.backbone, "neck": network.fpn}
    for name in names:
        if not name or (name not in modules and name not in group_of):
            raise UserError(_unknown_layer(name, [*levels, *group_of], modules))
    sources = {group_of.get(name, name) for name in names}
    outputs = _record_outputs(network, batch, {source: modules[source] for source in sources})
    return [_titled_outputs(name, outputs[group_of.get(name, name)], levels) for name in names]


def _level_names_by_group(network: nn.Module) -> dict[str, list[str]]:
    strides = network.backbone.feature_info.reduction()
    return {"backbone": [f"C{int(math.log2(stride))}" for stride in strides], "neck": level_names(network)}


def _unknown_layer(name: str, short_names: list[str], modules: dict[str, nn.Module]) -> str:
    """List the valid names: the short ones, and the modules below the part of the path that exists."""
    known = name
    while known not in modules:
        known = known.rpartition(".")[0]
    children = [f"{known}.{child}".lstrip(".") for child, _ in modules[known].named_children()]
    below = f", or a module's path{f' below {known}' if known else ''}: {', '.join(children)}" if children else ""
    return f"feature_maps.layers: this network has no layer {name!r}; it has {', '.join(short_names)}{below}"


def _record_outputs(
    network: nn.Module, batch: torch.Tensor, modules: dict[str, nn.Module]
) -> dict[str, list[torch.Tensor]]:
    """Run the network and keep the outputs [C, h, w] of some modules, in the order in which they were made."""
    outputs = {source: [] for source in modules}
    with ExitStack() as hooks, torch.inference_mode():
        for source, module in modules.items():
            hooks.enter_context(module.register_forward_hook(_recorder(outputs[source])))
        network(batch)
    return outputs


def _recorder(recorded: list[torch.Tensor]) -> Callable:
    def record(_module: nn.Module, _inputs: tuple, output: torch.Tensor | list) -> None:
        # A copy of the list: BiFPN appends P6 and P7 to the list that the backbone returned.
        for values in list(output) if isinstance(output, list | tuple) else [output]:
            if isinstance(values, torch.Tensor) and values.ndim == 4:
                # A clone: the activation after a batch norm works in place.
                recorded.append(values[0].float().cpu().clone())

    return record


def _titled_outputs(
    name: str, outputs: list[torch.Tensor], levels: dict[str, list[str]]
) -> list[tuple[str, torch.Tensor]]:
    """Give each output of a layer, or of the group that a level belongs to, its title."""
    if not outputs:
        raise UserError(f"feature_maps.layers: {name} makes no maps of one image; name a layer below or above it")
    if name in levels:
        return list(zip(levels[name], outputs, strict=True))
    for group_levels in levels.values():
        if name in group_levels:
            return [(name, outputs[group_levels.index(name)])]
    # A module of the heads runs once for each level.
    titles = [name] if len(outputs) == 1 else [f"{name} [{index}]" for index in range(len(outputs))]
    return list(zip(titles, outputs, strict=True))
