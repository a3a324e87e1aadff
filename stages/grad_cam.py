"""Show why the detector sees an object there: Grad-CAM of its detections at the neck's levels P3 to P7.

Grad-CAM (Selvaraju et al. 2017) weights a layer's channels by the mean gradient of a score. The score here is the class
logit of the anchors that became detections, first all of an image together, then each on its own at the level that made
it. A box takes part only in the gradients of its own level and finer ones: BiFPN's last cell builds P4 from P3, P5 from
P4 and so on, never the other way round.

Reads   data/model/, data/coco/val.json, data/raw/val/
Writes  plots/grad_cam/: a picture an image; metrics/grad_cam.json: the share of CAM energy inside the explained boxes
Run     dvc repro grad_cam
"""

import contextlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from pytorch_grad_cam import GradCAM
from torch import nn

from stages.detection.cli import run_stage
from stages.detection.detect import Detections, anchors_of, decode, flat_outputs
from stages.detection.drawing import DETECTION, draw_boxes, new_figure, picture_path, save_figure, show_heat, show_image
from stages.detection.files import read_json, replaced_dir, write_json
from stages.detection.images import Letterbox, letterbox_image, letterbox_of, read_image
from stages.detection.maps import crop_map, energy_share, inside_boxes
from stages.detection.network import LEVELS, NetworkSpec, load_network, pick_device, prepare_images
from stages.detection.params import GradCamParams, read_recipe

MODEL_DIR = Path("data/model")
COCO_PATH = Path("data/coco/val.json")
IMAGE_DIR = Path("data/raw/val")
PICTURES_DIR = Path("plots/grad_cam")
METRICS_PATH = Path("metrics/grad_cam.json")


class Logits(nn.Module):
    """The detector as the grad-cam library wants it: one tensor of class logits, [B, A, K]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Run the network on normalised images, [B, 3, S, S]."""
        return flat_outputs(*self.network(images))[0]


class BoxTarget(NamedTuple):
    """What is explained: the sum of the class logits of some detections' anchors.

    Logits, not scores: a sigmoid near 1 would weaken just the surest detections.
    """

    anchors: torch.Tensor  # int64 [N]
    labels: torch.Tensor  # int64 [N], from 1

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """Sum the logits of one image, [A, K]."""
        return logits[self.anchors, self.labels - 1].sum()


class Explanation(NamedTuple):
    """One image's maps, not negative, [H, W] px as the photograph lies in the network's input."""

    detections: Detections
    letterbox: Letterbox
    by_level: list[np.ndarray]  # P3 to P7, of all detections together
    own_level: list[np.ndarray]  # a detection each, at the level that made it


def neck_levels(network: nn.Module) -> list[nn.Module]:
    """Give the modules whose outputs are P3 to P7: nodes 3 to 7 of BiFPN's last cell, after its top-down half."""
    return list(network.fpn.cell[-1].fnode[3:8])


def detect(network: nn.Module, batch: torch.Tensor, letterbox: Letterbox, params: GradCamParams) -> Detections:
    """Find the detections to explain in one normalised image, [1, 3, S, S]."""
    with torch.inference_mode():
        logits, codes = flat_outputs(*network(batch))
    detections = decode(logits[0], codes[0], *anchors_of(network, batch.device), letterbox)
    return detections.best(params.score_threshold, params.max_boxes)


def explain(
    network: nn.Module, spec: NetworkSpec, image: torch.Tensor, params: GradCamParams, device: torch.device
) -> Explanation:
    """Compute an image's maps with one forward and one backward pass.

    Args:
        network: in eval mode; its hooks and gradients are left as they were.
        image: the photograph, uint8 [3, H, W].
    """
    letterbox = letterbox_of(image.shape[2], image.shape[1], spec.image_size)
    batch = prepare_images(letterbox_image(image, spec.image_size, spec.fill_rgb)[None], spec, device)
    detections = detect(network, batch, letterbox, params)
    if not len(detections.scores):
        blank = np.zeros((letterbox.height, letterbox.width), dtype=np.float32)
        return Explanation(detections, letterbox, [blank] * len(LEVELS), [])
    targets = [BoxTarget(detections.anchors, detections.labels)]
    targets += [BoxTarget(*pair) for pair in zip(detections.anchors.split(1), detections.labels.split(1), strict=True)]
    maps = level_maps(network, batch.expand(len(targets), -1, -1, -1), targets, spec.image_size, letterbox)
    own_level = [maps[int(level)][row] for row, level in enumerate(detections.levels, start=1)]
    return Explanation(detections, letterbox, [level[0] for level in maps], own_level)


def level_maps(
    network: nn.Module, batch: torch.Tensor, targets: list[BoxTarget], image_size: int, letterbox: Letterbox
) -> list[np.ndarray]:
    """Compute Grad-CAM at every level of the neck for one target a row of the batch.

    Returns:
        P3 to P7, float32 [B, letterbox.height, letterbox.width] each.
    """
    layers = neck_levels(network)
    with gradients_of_last_cell(network), GradCAM(Logits(network), layers) as cam:
        cam(input_tensor=batch, targets=targets)
        passed = cam.activations_and_grads
        # The library's own result is scaled to 0..1 and to the whole input; the plain maps are needed here.
        maps = [
            cam.get_cam_image(batch, layer, targets, activations.numpy(), gradients.numpy())
            for layer, activations, gradients in zip(layers, passed.activations, passed.gradients, strict=True)
        ]
    return [crop_map(torch.from_numpy(level).relu(), image_size, letterbox).numpy() for level in maps]


@contextlib.contextmanager
def gradients_of_last_cell(network: nn.Module):  # noqa: ANN201 - a context manager without a value
    """Ask for gradients from BiFPN's last cell on only: nothing before it is needed, and it is most of the network."""
    required = [parameter.requires_grad for parameter in network.parameters()]
    network.requires_grad_(False)
    network.fpn.cell[-1].requires_grad_(True)
    try:
        yield
    finally:
        for parameter, value in zip(network.parameters(), required, strict=True):
            parameter.requires_grad_(value)
            parameter.grad = None


def heading(count: int, score_threshold: float) -> str:
    """Say how many detections are explained."""
    if not count:
        return f"no detection scores {score_threshold} or more"
    return f"{count} detection{'s' if count > 1 else ''}"


def level_title(name: str, made_at: list[str], has_heat: bool) -> str:
    """Say how many of the explained boxes a level made, and why its map is empty where it is.

    Args:
        name: the level.
        made_at: the level of each explained box.
        has_heat: whether the level's map has a value above zero.
    """
    title = f"{name}: {made_at.count(name)} of {len(made_at)} made here"
    if has_heat or not made_at:
        return title
    # Boxes of this level or a coarser one have a gradient here; ReLU may still leave nothing of their map.
    return f"{name}: no gradient" if max(made_at) < name else f"{title}, empty"


def draw(image: torch.Tensor, explanation: Explanation, params: GradCamParams) -> Figure:
    """Draw the photograph with the explained detections, every level, and each detection's own level."""
    _, height, width = image.shape
    longer = max(width, height)
    figure, axes = new_figure(4, 2, (3.6 * width / longer, 3.6 * height / longer))
    found, letterbox, by_level, own_level = explanation
    boxes_xyxy = found.boxes_xyxy.cpu() / torch.tensor(letterbox.scale_xy * 2)
    levels = [LEVELS[level] for level in found.levels.tolist()]
    labels = [f"{score:.2f} {level}" for score, level in zip(found.scores.tolist(), levels, strict=True)]
    # Over each other: the strongest map wins, each with its own maximum as 1.
    own = np.max([level / max(level.max(), 1e-12) for level in own_level] or [by_level[0]], axis=0)
    show_image(axes[0], image, heading(len(levels), params.score_threshold))
    draw_boxes(axes[0], boxes_xyxy, DETECTION, labels)
    cells = zip(LEVELS, by_level, (axes[1], axes[2], axes[3], axes[5], axes[6]), strict=True)
    for ax, heat, title in [
        (axes[4], own, "each at its own level" if own.any() or not levels else "own level: nothing positive"),
        *((ax, heat, level_title(name, levels, bool(heat.any()))) for name, heat, ax in cells),
    ]:
        show_image(ax, image, title)
        if heat.any():
            show_heat(ax, heat, (width, height), top=float(heat.max()))
        draw_boxes(ax, boxes_xyxy, DETECTION, line_width=0.8)
    return figure


def measure(explanations: list[Explanation]) -> dict[str, float]:
    """Measure how much of the maps lies inside the explained boxes, by level.

    `area_of_boxes` and `area_of_own_box` are the shares that a map without any preference would have. Means are over
    images, for own boxes over detections; maps of zeros are left out, and 0 stands where no map is left.
    """
    explained = [explanation for explanation in explanations if len(explanation.detections.scores)]
    by_level = {level: [] for level in LEVELS}
    areas, own_areas, own, made = [], [], [], []
    for found, _, level_heats, own_heats in explained:
        boxes_xyxy = found.boxes_xyxy.cpu().numpy()
        areas.append(inside_boxes(level_heats[0].shape, boxes_xyxy).mean())
        made += found.levels.tolist()
        for level, heat in zip(LEVELS, level_heats, strict=True):
            by_level[level].append(energy_share(heat, boxes_xyxy))
        own_areas += [inside_boxes(level_heats[0].shape, box_xyxy[None]).mean() for box_xyxy in boxes_xyxy]
        own += [energy_share(heat, box_xyxy[None]) for heat, box_xyxy in zip(own_heats, boxes_xyxy, strict=True)]
    return {
        "images": len(explanations),
        "images_explained": len(explained),
        "boxes": len(made),
        "area_of_boxes": _mean(areas),
        "area_of_own_box": _mean(own_areas),
        "energy_in_own_box": _mean(own),
        **{f"energy_in_boxes_{level}": _mean(shares) for level, shares in by_level.items()},
        **{f"boxes_made_at_{level}": made.count(index) for index, level in enumerate(LEVELS)},
    }


def _mean(values: list[float | None]) -> float:
    known = [float(value) for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else 0.0


def main() -> None:
    """Explain the first validation images."""
    recipe = read_recipe()
    params = recipe.grad_cam
    device = pick_device(recipe.train.device)
    network, spec = load_network(MODEL_DIR, device)
    images = read_json(COCO_PATH)["images"]
    explanations = []
    with replaced_dir(PICTURES_DIR) as folder:
        for entry in images[: params.max_images]:
            image = read_image(IMAGE_DIR / entry["file_name"])
            explanation = explain(network, spec, image, params, device)
            explanations.append(explanation)
            save_figure(draw(image, explanation, params), picture_path(folder, entry["file_name"]))
    metrics = measure(explanations)
    write_json(METRICS_PATH, metrics)
    print(f"{metrics['boxes']} detections explained on {len(explanations)} of {len(images)} validation images")


if __name__ == "__main__":
    run_stage(main, __doc__)
