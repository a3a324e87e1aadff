"""Maps of networks whose weights are made random."""

import copy
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn
from tqdm import tqdm

from viadet.explanation.explained import ExplainedBox, ExplainedImage, coarse_maps, enlarged, masks_of
from viadet.explanation.faithfulness import Key, measure_map
from viadet.explanation.maps import crop_cells
from viadet.explanation.targets import forward_pass, gradients_of
from viadet.images.letterbox import Letterbox
from viadet.network.build import NetworkSpec, build_network, prepare_images


class RandomisationImage(NamedTuple):
    """What the slow checks of an image need after its pass is gone."""

    canvas: torch.Tensor
    letterbox: Letterbox
    explained: list[ExplainedBox]  # without gradients
    own_maps: dict[str, list[np.ndarray]]  # by method, of each box, [h, w] of the whole input


def keep_for_randomisation(look: ExplainedImage, coarse: dict[str, list[dict[int, np.ndarray]]]) -> RandomisationImage:
    """Keep of an image what the check with random weights needs; its pass and gradients would fill the memory."""
    boxes = [box._replace(gradients=[]) for box in look.detections]
    own_maps = {
        method: [maps[row][box.target.level] for row, box in enumerate(boxes)] for method, maps in coarse.items()
    }
    return RandomisationImage(look.canvas, look.letterbox, boxes, own_maps)


def randomisation(
    network: nn.Module,
    spec: NetworkSpec,
    checked: list[RandomisationImage],
    methods: list[str],
    seed: int,
    device: torch.device,
) -> tuple[list[tuple[str, str]], dict[str, list[float | None]], dict[Key, list[float]]]:
    """Compare the maps of all checked detections with those of networks whose weights become random.

    Returns:
        The steps, (part, path) each; by method the mean rank correlation after each step; and as from `measure_image`,
        with `untrained` as the level, what maps of the wholly random network measure at the level that made the box.
    """
    steps, correlations, values = [], {method: [] for method in methods}, defaultdict(list)
    total = sum(1 for _ in randomised_networks(network, spec, seed))
    for part, path, random_network in tqdm(
        randomised_networks(network, spec, seed), desc="random weights", unit="step", total=total
    ):
        steps.append((part, path))
        by_method = defaultdict(list)
        for image in checked:
            passed = forward_pass(random_network, prepare_images(image.canvas[None], spec, device))
            boxes = [box._replace(gradients=gradients_of(passed, box.target)) for box in image.explained]
            for method in methods:
                maps = coarse_maps(method, random_network, passed, boxes, own_only=True)
                for box, mine, real in zip(boxes, maps, image.own_maps[method], strict=True):
                    pair = torch.from_numpy(mine[box.target.level]), torch.from_numpy(real)
                    cells = [crop_cells(map_, image.letterbox).numpy() for map_ in pair]
                    by_method[method].append(rank_correlation(*cells))
                    if len(steps) == total:
                        (heat,) = enlarged(mine, image.letterbox).values()
                        for name, value in measure_map(heat, masks_of(box, image.letterbox)).items():
                            values[method, "untrained", name].append(value)
        for method in methods:
            correlations[method].append(float(np.mean(by_method[method])) if by_method[method] else None)
    return steps, correlations, values


def randomised_networks(network: nn.Module, spec: NetworkSpec, seed: int) -> Iterator[tuple[str, str, nn.Module]]:
    """Replace the weights by random ones from the heads down, part by part, each part on top of those before.

    The cascading randomisation of Adebayo et al. 2018, with weights such as training starts from, but not the very ones
    that it starts from with this seed: what is learnt still resembles those.

    Yields:
        The part (`heads`, `neck` or `backbone`), what of it has just become random, and the network, the same object
        each time. The one that was given stays as it was.
    """
    network = copy.deepcopy(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed ^ 0xFFFFFFFF)
        fresh = build_network(spec).to(next(network.parameters()).device)
    network.class_net.load_state_dict(fresh.class_net.state_dict())
    network.box_net.load_state_dict(fresh.box_net.state_dict())
    yield "heads", "heads", network
    for part, module in (("neck", "fpn"), ("backbone", "backbone")):
        for path in _parts(network.get_submodule(module)):
            path = f"{module}.{path}"
            network.get_submodule(path).load_state_dict(fresh.get_submodule(path).state_dict())
            yield part, path, network


def _parts(module: nn.Module) -> list[str]:
    """List the paths of a module's parts from its output to its input: children, and theirs where one is a list."""
    paths = []
    for name, child in module.named_children():
        listed = isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict) and len(child) > 1
        paths += [f"{name}.{inner}" for inner, _ in child.named_children()] if listed else [name]
    return [path for path in reversed(paths) if any(True for _ in module.get_submodule(path).parameters())]


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Give Spearman's rank correlation of two maps, -1 to 1; 0 where one of them is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first, second, axis=None).statistic)
