"""Does a map mean anything? Pixels taken away or shown by its order, and networks whose weights are made random."""

import copy
from collections.abc import Iterator

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

from stages.detection.cam import Pass, Target
from stages.detection.detect import flat_outputs
from stages.detection.network import NetworkSpec, build_network

FRACTIONS = (0.02, 0.05, 0.1, 0.2, 0.4)  # of the photograph's pixels


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
