"""Does a map depend on what the network has learnt? Maps of networks whose weights are made random, step by step.

The cascading randomisation of Adebayo et al. 2018: from the heads down, part by part, each on top of those before.
"""

import copy
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn
from tqdm import tqdm

from viadet.detection.sized_network import SizedNetwork
from viadet.explanation.cams import class_activation_maps
from viadet.explanation.explained_boxes import ExplainedBox, ExplainedImage
from viadet.explanation.maps import BoxMaps, crop_cells, enlarge_to_photograph
from viadet.explanation.measurements import Measurements, add_localisation, masks_of
from viadet.explanation.targets import gradients_of, run_forward
from viadet.images.letterbox import InputImage, Letterbox
from viadet.network.build import NetworkSpec, build_network


class RandomisationImage(NamedTuple):
    """What the check needs of an image once its forward pass is gone."""

    input_image: InputImage
    detections: list[ExplainedBox]  # without gradients
    trained_maps: dict[str, list[np.ndarray]]  # by method, the coarse map of each detection at its own level


class Randomisation(NamedTuple):
    """What became of the maps when the weights became random."""

    steps: list[tuple[str, str]]  # as from `randomisation_steps`
    correlations: dict[str, list[float]]  # by method, mean rank correlation with the trained map after each step, or []
    untrained: Measurements  # localisation with all weights random, under the level `untrained`


def keep_for_randomisation(image: ExplainedImage, coarse_maps: dict[str, list[BoxMaps]]) -> RandomisationImage:
    """Keep what the check needs of an image and of its detections' maps by method.

    Its forward pass and gradients would fill the memory.
    """
    detections = [box._replace(gradients=[]) for box in image.detections]
    trained_maps = {
        method: [maps[box.target.level] for box, maps in zip(detections, method_maps, strict=True)]
        for method, method_maps in coarse_maps.items()
    }
    return RandomisationImage(image.input_image, detections, trained_maps)


def check_randomisation(
    sized: SizedNetwork, images: list[RandomisationImage], methods: list[str], seed: int
) -> Randomisation:
    """Compare the maps of all detections with those of the same network with more and more random weights.

    Args:
        sized: the network; stays as it is.
        images: with the maps of all `methods`.
        methods: of class activation maps.
        seed: of the random weights.
    """
    steps = randomisation_steps(sized.network)
    correlations, untrained = {method: [] for method in methods}, defaultdict(list)
    networks = randomised_networks(sized.network, sized.spec, seed)
    progress = tqdm(networks, desc="random weights", unit="step", total=len(steps))
    for number, random_network in enumerate(progress, start=1):
        step_correlations = defaultdict(list)
        for method, box, letterbox, random_map, trained_map in _map_pairs(random_network, sized, images, methods):
            random_cells, trained_cells = crop_cells(random_map, letterbox), crop_cells(trained_map, letterbox)
            step_correlations[method].append(rank_correlation(random_cells, trained_cells))
            if number == len(steps):
                heat = enlarge_to_photograph(random_map, letterbox)
                add_localisation(untrained, (method, "untrained"), heat, masks_of(box, letterbox))
        for method, values in step_correlations.items():
            correlations[method].append(float(np.mean(values)))
    return Randomisation(steps, correlations, untrained)


def _map_pairs(
    random_network: nn.Module, sized: SizedNetwork, images: list[RandomisationImage], methods: list[str]
) -> Iterator[tuple[str, ExplainedBox, Letterbox, np.ndarray, np.ndarray]]:
    """Yield method, box, letterbox, and the coarse maps by the random and the trained network at the box's level."""
    for input_image, detections, trained_maps in images:
        forward_pass = run_forward(random_network, sized.normalise(input_image.canvas[None]))
        boxes = [box._replace(gradients=gradients_of(forward_pass, box.target)) for box in detections]
        for method in methods:
            maps = class_activation_maps(method, random_network, forward_pass, boxes, own_level_only=True)
            for box, box_maps, trained_map in zip(boxes, maps, trained_maps[method], strict=True):
                yield method, box, input_image.letterbox, box_maps[box.target.level], trained_map


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Compute Spearman's rank correlation of two maps, -1 to 1; 0 if one of them is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first, second, axis=None).statistic)


def randomisation_steps(network: nn.Module) -> list[tuple[str, str]]:
    """List what becomes random in each step: the part (`heads`, `neck` or `backbone`) and its path in the network."""
    steps = [("heads", "heads")]
    for part, module in (("neck", "fpn"), ("backbone", "backbone")):
        steps += [(part, f"{module}.{path}") for path in _paths_from_the_output(network.get_submodule(module))]
    return steps


def _paths_from_the_output(module: nn.Module) -> list[str]:
    """List the children of a module with weights, the last first; the elements of a list of modules one by one."""
    paths = []
    for name, child in module.named_children():
        is_list = isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict) and len(child) > 1
        paths += [f"{name}.{element}" for element, _ in child.named_children()] if is_list else [name]
    return [path for path in reversed(paths) if any(True for _ in module.get_submodule(path).parameters())]


def randomised_networks(network: nn.Module, spec: NetworkSpec, seed: int) -> Iterator[nn.Module]:
    """Replace the weights by random ones, one of `randomisation_steps` after the other.

    The weights are initialised as for training, but not with the generator's state that training with this seed starts
    from: what a network has learnt still resembles its initial weights.

    Yields:
        The network after each step, the same object each time. The one that was given stays as it is.
    """
    network = copy.deepcopy(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed ^ 0xFFFFFFFF)
        fresh = build_network(spec).to(next(network.parameters()).device)
    for part, path in randomisation_steps(network):
        for module in ("class_net", "box_net") if part == "heads" else (path,):
            network.get_submodule(module).load_state_dict(fresh.get_submodule(module).state_dict())
        yield network
