"""Does a map mean anything?

Where it points and its energy lies, pixels taken away or shown by its order, networks whose weights are made random.
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

from stages.detection.cam import Pass, Target, forward_pass, gradients_of
from stages.detection.detect import flat_outputs
from stages.detection.explain import Explained, Look, coarse_maps, enlarged, masks_of, sum_of
from stages.detection.images import Letterbox
from stages.detection.maps import centre_map, crop_cells, energy_share, points_inside
from stages.detection.network import NetworkSpec, build_network, prepare_images

FRACTIONS = (0.02, 0.05, 0.1, 0.2, 0.4)  # of the photograph's pixels
BOX_CENTRE = "BoxCentre"  # no method, but a map drawn from the box alone
Key = tuple[str, str, str | float]  # method, level, measure


class Checked(NamedTuple):
    """What the slow checks of an image need after its pass is gone."""

    canvas: torch.Tensor
    letterbox: Letterbox
    explained: list[Explained]  # without gradients
    own_maps: dict[str, list[np.ndarray]]  # by method, of each box, [h, w] of the whole input


def to_check(look: Look, coarse: dict[str, list[dict[int, np.ndarray]]]) -> Checked:
    """Keep of an image what the check with random weights needs; its pass and gradients would fill the memory."""
    boxes = [box._replace(gradients=[]) for box in look.detections]
    own_maps = {
        method: [maps[row][box.target.level] for row, box in enumerate(boxes)] for method, maps in coarse.items()
    }
    return Checked(look.canvas, look.letterbox, boxes, own_maps)


def measure_map(heat: np.ndarray, masks: dict[str, np.ndarray]) -> dict[str, float]:
    """Measure where a map [H, W] points and where its energy lies; what is negative does not count."""
    heat = np.maximum(heat, 0)
    return {f"pointing_{where}": float(points_inside(heat, inside)) for where, inside in masks.items()} | {
        f"energy_{where}": energy_share(heat, inside) for where, inside in masks.items()
    }


def measure_image(
    network: nn.Module, look: Look, maps: dict[str, list[dict[int, np.ndarray]]], names: list[str], slow: bool
) -> Iterator[tuple[Key, float]]:
    """Measure all detections of an image.

    Args:
        network: the one that made the maps.
        look: the image.
        maps: by method, of each detection, by level, [H, W] px of the photograph in the input.
        names: of the levels.
        slow: whether pixels are taken away and shown, too.

    Yields:
        (method, level, measure) and its value for one detection. Levels are those that take part in the detection, the
        one that made it (`own`) and the `sum` of all. `chance` is what a map without any preference has. Deletion and
        insertion come in place of a level, with the fraction of pixels as the measure; BoxCentre has nothing else.
    """
    for row, box in enumerate(look.detections):
        masks = masks_of(box, look.letterbox)
        yield from ((("chance", "own", where), float(inside.mean())) for where, inside in masks.items())
        ranked = {BOX_CENTRE: centre_map(masks["box"].shape, box.box_xyxy)}
        for method in maps:
            heats = {names[level]: heat for level, heat in maps[method][row].items()}
            ranked[method] = heats[names[box.target.level]]
            heats |= {"own": ranked[method], "sum": sum_of(maps[method][row])}
            for level, heat in heats.items():
                yield from (((method, level, name), value) for name, value in measure_map(heat, masks).items())
        for method, heat in ranked.items() if slow else ():
            curves = deletion_insertion(network, look.passed, heat, box.target)
            for curve, shares in zip(("deletion", "insertion"), curves, strict=True):
                yield from (((method, curve, f), share) for f, share in zip(FRACTIONS, shares, strict=True))


def randomisation(
    network: nn.Module, spec: NetworkSpec, checked: list[Checked], methods: list[str], seed: int, device: torch.device
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


def deletion_insertion(
    network: nn.Module, passed: Pass, heat: np.ndarray, target: Target
) -> tuple[list[float], list[float]]:
    """Take away, or show alone, the pixels that a map ranks highest (Petsiuk et al. 2018).

    Pixels are replaced by the mean colour. A good map loses the score early and brings it back early.

    Args:
        network: in eval mode.
        passed: the pass of the whole image.
        heat: the map, [H, W] px of the photograph in the upper left corner of the input; only its order counts.
        target: a box; its class score is followed.

    Returns:
        The share of the score of the whole image, by FRACTIONS, without the pixels (deletion), and with them alone
        (insertion).
    """
    height, width = heat.shape
    rank = np.empty(heat.size, dtype=np.int64)
    rank[np.argsort(-heat, axis=None, kind="stable")] = np.arange(heat.size)
    rank = torch.from_numpy(rank.reshape(height, width)).to(passed.batch.device)
    top = torch.stack([rank < round(fraction * heat.size) for fraction in FRACTIONS])
    inputs = passed.batch.repeat(2 * len(top), 1, 1, 1)
    inputs[:, :, :height, :width] *= torch.cat([~top, top])[:, None]  # zero is the mean colour
    with torch.inference_mode():
        logits, _ = flat_outputs(*network(inputs))
        score, whole_score = (
            of[..., target.anchors, target.label - 1].float().sigmoid().mean(-1) for of in (logits, passed.logits)
        )
    shares = (score / whole_score).tolist()
    return shares[: len(top)], shares[len(top) :]


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
