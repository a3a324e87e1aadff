"""The outputs of any layer of the network for an image: finding it by its name, recording what it puts out."""

import math

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

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
    strides = network.backbone.feature_info.reduction()
    levels = {"backbone": [f"C{int(math.log2(stride))}" for stride in strides], "neck": level_names(network)}
    group_of = {level: group for group in levels for level in levels[group]}
    modules = dict(network.named_modules()) | {"backbone": network.backbone, "neck": network.fpn}
    for name in names:
        if not name or (name not in modules and name not in group_of):
            raise UserError(_unknown_layer(name, [*levels, *group_of], modules))
    sources = {name: group_of.get(name, name) for name in names}
    recorded = _record_outputs(network, batch, [modules[source] for source in sources.values()])
    outputs = {name: recorded[modules[source]] for name, source in sources.items()}
    return [_titled_outputs(name, outputs[name], levels.get(sources[name])) for name in names]


def _unknown_layer(name: str, short_names: list[str], modules: dict[str, nn.Module]) -> str:
    """List the valid names: the short ones, and the modules below the part of the path that exists."""
    known = name
    while known not in modules:
        known = known.rpartition(".")[0]
    children = [f"{known}.{child}".lstrip(".") for child, _ in modules[known].named_children()]
    below = f", or a module's path{f' below {known}' if known else ''}: {', '.join(children)}" if children else ""
    return f"feature_maps.layers: this network has no layer {name!r}; it has {', '.join(short_names)}{below}"


def _record_outputs(
    network: nn.Module, batch: torch.Tensor, modules: list[nn.Module]
) -> dict[nn.Module, list[torch.Tensor]]:
    """Run the network and keep the outputs [C, h, w] of some modules, in the order in which they were made."""
    recorded = {module: [] for module in modules}

    def record(module: nn.Module, _inputs: tuple, output: torch.Tensor | list) -> None:
        if module not in recorded:
            return
        # A copy of the list: BiFPN appends P6 and P7 to the list that the backbone returned.
        for values in list(output) if isinstance(output, list | tuple) else [output]:
            if isinstance(values, torch.Tensor) and values.ndim == 4:
                # A clone: the activation after a batch norm works in place.
                recorded[module].append(values[0].float().cpu().clone())

    with register_module_forward_hook(record), torch.inference_mode():
        network(batch)
    return recorded


def _titled_outputs(
    name: str, outputs: list[torch.Tensor], level_titles: list[str] | None
) -> list[tuple[str, torch.Tensor]]:
    """Give each output of a layer its title; of the outputs of the group that a level belongs to, keep the level's."""
    if not outputs:
        raise UserError(f"feature_maps.layers: {name} makes no maps of one image; name a layer below or above it")
    if level_titles is None:
        # A module of the heads runs once for each level.
        level_titles = [name] if len(outputs) == 1 else [f"{name} [{index}]" for index in range(len(outputs))]
    titled = list(zip(level_titles, outputs, strict=True))
    return [(title, output) for title, output in titled if title == name] if name in level_titles else titled
