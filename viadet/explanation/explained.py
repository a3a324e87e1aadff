"""What is explained in an image, right and wrong detections and missed objects, and the maps of it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from viadet.evaluation.coco_metrics import run_cocoeval
from viadet.evaluation.matching import matched_annotations
from viadet.explanation.cams import cams
from viadet.explanation.maps import crop_map, inside_box
from viadet.explanation.targets import ForwardPass, Target, anchors_near, forward_pass, gradients_of
from viadet.images.letterbox import Letterbox, letterbox_image, letterbox_of
from viadet.images.pixels import polygon_mask, read_image
from viadet.network.boxes import boxes_xyxy_of, decode, to_coco_results
from viadet.network.build import NetworkSpec, prepare_images
from viadet.project.params import GradCamParams

KINDS = ("right", "wrong", "missed")  # true positives, false positives, objects without a detection


class ExplainedBox(NamedTuple):
    """A box and why the network sees it, or does not; px of the network's input."""

    kind: str  # one of KINDS
    box_xyxy: np.ndarray  # float32 [4]
    polygon: torch.Tensor | None  # of the object, float32 [points, 2]; a false positive has none
    score: float  # of a missed object: the best of its anchors
    target: Target
    gradients: list[np.ndarray | None]  # by level
    seed: tuple[int, ...]


class ExplainedImage(NamedTuple):
    """One image with what the network finds and misses in it."""

    canvas: torch.Tensor  # uint8 [3, H, W], the network's input
    letterbox: Letterbox
    passed: ForwardPass
    detections: list[ExplainedBox]  # best first
    missed: list[ExplainedBox]  # largest first


def explain_image(
    network: nn.Module,
    spec: NetworkSpec,
    image_dir: Path,
    coco: dict,
    entry: dict,
    annotations: list[dict],
    anchors: tuple[torch.Tensor, torch.Tensor],
    params: GradCamParams,
    seed: int,
) -> ExplainedImage:
    """Run the network on one image of a COCO data set and compare what it finds with the image's annotations.

    Args:
        network: in eval mode.
        spec: what it was built from.
        image_dir: where the images are.
        coco: the data set.
        entry: the image.
        annotations: of this image.
        anchors: the network's, by `anchors_of`; the image goes to their device.
        params: what is explained.
        seed: of RandomCAM.
    """
    anchors_yxyx, levels = anchors
    device = anchors_yxyx.device
    image = read_image(image_dir / entry["file_name"])
    letterbox = letterbox_of(image.shape[2], image.shape[1], spec.input_wh)
    canvas = letterbox_image(image, spec.input_wh, spec.fill_rgb)
    passed = forward_pass(network, prepare_images(canvas[None], spec, device))
    logits, codes = passed.logits.detach(), passed.codes.detach()
    found = decode(logits, codes, anchors_yxyx, levels, letterbox).best(params.score_threshold)

    results = to_coco_results(found, entry["id"], letterbox)
    alone = {**coco, "images": [entry], "annotations": annotations}
    matches = matched_annotations(run_cocoeval(alone, results))
    truth = {annotation["id"]: annotation for annotation in annotations}

    def explain(
        kind: str, box_xyxy: torch.Tensor, annotation: dict | None, score: float, target: Target
    ) -> ExplainedBox:
        polygon = None
        if annotation is not None:
            points = torch.tensor(annotation["segmentation"][0], dtype=torch.float32).view(-1, 2)
            polygon = points * torch.tensor(letterbox.scale_xy)
        # The same for the same anchor of the same image, whatever else is explained.
        own_seed = (seed, entry["id"], int(target.anchors[0]))
        return ExplainedBox(
            kind, box_xyxy.cpu().numpy(), polygon, score, target, gradients_of(passed, target), own_seed
        )

    detections = []
    for index, (box_xyxy, score, label, anchor, level) in enumerate(zip(*found, strict=True)):
        annotation = truth.get(matches.get(index))
        target = Target(anchor[None], int(label), int(level), params.target)
        kind = "wrong" if annotation is None else "right"
        detections.append(explain(kind, box_xyxy, annotation, float(score), target))
    missed = []
    for annotation in sorted(annotations, key=lambda annotation: -annotation["area"]):
        if annotation["id"] not in matches.values():
            box_xyxy = (boxes_xyxy_of([annotation])[0] * torch.tensor(letterbox.scale_xy * 2)).to(device)
            near, label = anchors_near(anchors_yxyx, box_xyxy), annotation["category_id"]
            score = float(logits[near, label - 1].max().sigmoid())
            target = Target(near, label, int(levels[near[0]]), params.target)
            missed.append(explain("missed", box_xyxy, annotation, score, target))
    return ExplainedImage(canvas, letterbox, passed, detections, missed)


def coarse_maps(
    method: str, network: nn.Module, passed: ForwardPass, explained: list[ExplainedBox], own_only: bool = False
) -> list[dict[int, np.ndarray]]:
    """Compute a method's maps of some boxes, by level, [h, w] of the whole input."""
    targets, gradients = [box.target for box in explained], [box.gradients for box in explained]
    return cams(method, network, passed, targets, gradients, [box.seed for box in explained], own_only)


def enlarged(coarse: dict[int, np.ndarray], letterbox: Letterbox) -> dict[int, np.ndarray]:
    """Enlarge the maps of one box, by level, to the px of the photograph in the input, [H, W]."""
    return {level: crop_map(torch.from_numpy(heat), letterbox).numpy() for level, heat in coarse.items()}


def sum_of(maps: dict[int, np.ndarray]) -> np.ndarray:
    """Add up what is positive in the maps of all levels, [H, W] each."""
    return np.sum([np.maximum(heat, 0) for heat in maps.values()], axis=0)


def masks_of(box: ExplainedBox, letterbox: Letterbox) -> dict[str, np.ndarray]:
    """Mark the pixels of a detection's box, and of the polygon of the object that it found, bool [H, W]."""
    masks = {"box": inside_box((letterbox.height, letterbox.width), box.box_xyxy)}
    if box.polygon is not None:
        masks["polygon"] = polygon_mask(box.polygon, letterbox.width, letterbox.height).numpy()
    return masks
