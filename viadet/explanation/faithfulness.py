"""Does a map mean anything?

Where it points and its energy lies, pixels taken away or shown by its order, networks whose weights are made random.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from viadet.explanation.explained import ExplainedImage, masks_of, sum_of
from viadet.explanation.maps import centre_map, energy_share, points_inside
from viadet.explanation.targets import ForwardPass, Target
from viadet.network.boxes import flat_outputs

FRACTIONS = (0.02, 0.05, 0.1, 0.2, 0.4)  # of the photograph's pixels
BOX_CENTRE = "BoxCentre"  # no method, but a map drawn from the box alone
Key = tuple[str, str, str | float]  # method, level, measure


def measure_map(heat: np.ndarray, masks: dict[str, np.ndarray]) -> dict[str, float]:
    """Measure where a map [H, W] points and where its energy lies; what is negative does not count."""
    heat = np.maximum(heat, 0)
    return {f"pointing_{where}": float(points_inside(heat, inside)) for where, inside in masks.items()} | {
        f"energy_{where}": energy_share(heat, inside) for where, inside in masks.items()
    }


def measure_image(
    network: nn.Module, look: ExplainedImage, maps: dict[str, list[dict[int, np.ndarray]]], names: list[str], slow: bool
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


def deletion_insertion(
    network: nn.Module, passed: ForwardPass, heat: np.ndarray, target: Target
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
