"""The boxes that are explained in an image: its detections, right and wrong, and the objects that were missed."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from viadet.annotations.coco import by_image
from viadet.evaluation.coco_metrics import run_cocoeval
from viadet.evaluation.matching import matched_annotations
from viadet.explanation.targets import ForwardPass, Target, gradients_of, nearest_anchors, run_forward
from viadet.images.letterbox import InputImage, Letterbox
from viadet.images.pixels import read_image
from viadet.network.boxes import Detections, boxes_xyxy_of, decode, to_coco_results
from viadet.network.build import prepare_images
from viadet.network.detect import ScaledNetwork, letterboxed
from viadet.project.params import GradCamParams

KINDS = ("right", "wrong", "missed")  # true positives, false positives, objects without a detection


class ExplainedBox(NamedTuple):
    """A detection or a missed object, with what its maps are made from."""

    kind: str  # one of KINDS
    box_xyxy: np.ndarray  # float32 [4], px of the network's input
    polygon: torch.Tensor | None  # of the object, float32 [points, 2], px of the input; a false positive has none
    score: float  # of a missed object: the best one of its anchors
    target: Target
    gradients: list[np.ndarray | None]  # by level, from `gradients_of`; empty before `with_gradients`
    seed: tuple[int, ...]  # of RandomCAM: the same for an anchor of an image, whatever else is explained


class ExplainedImage(NamedTuple):
    """One image with what the network detects and misses in it."""

    input_image: InputImage
    forward_pass: ForwardPass
    detections: list[ExplainedBox]  # best first
    missed: list[ExplainedBox]  # largest first

    @property
    def boxes(self) -> list[ExplainedBox]:
        """All boxes: the detections, then the missed objects."""
        return [*self.detections, *self.missed]


def single_image_sets(coco: dict) -> list[dict]:
    """Split a COCO data set into one for each of its images."""
    annotations = by_image(coco["annotations"])
    return [{**coco, "images": [entry], "annotations": annotations[entry["id"]]} for entry in coco["images"]]


def explain_image(
    scaled: ScaledNetwork,
    image_dir: Path,
    image_coco: dict,
    params: GradCamParams,
    max_detections: int,
    seed: int,
) -> ExplainedImage:
    """Run the network on one image of a COCO data set and match its detections with the image's annotations.

    Args:
        scaled: the network.
        image_dir: folder of the images.
        image_coco: the data set of this one image, from `single_image_sets`.
        params: score threshold, and which output is explained.
        max_detections: of the image, as in its evaluation.
        seed: of RandomCAM.
    """
    (entry,) = image_coco["images"]
    network, spec, (anchors_yxyx, levels) = scaled
    input_image = letterboxed(read_image(image_dir / entry["file_name"]), spec)
    letterbox = input_image.letterbox
    image_seed = (seed, entry["id"])
    forward_pass = run_forward(network, prepare_images(input_image.canvas[None], spec, anchors_yxyx.device))
    logits, codes = forward_pass.logits.detach(), forward_pass.codes.detach()
    detections = decode(logits, codes, anchors_yxyx, levels, letterbox, max_detections).best(params.score_threshold)
    matched, unmatched = _match_annotations(detections, image_coco, letterbox, max_detections)
    detected = _detected_boxes(detections, matched, letterbox, params.target, image_seed)
    missed = _missed_boxes(unmatched, logits, anchors_yxyx, levels, letterbox, params.target, image_seed)
    return ExplainedImage(
        input_image, forward_pass, with_gradients(detected, forward_pass), with_gradients(missed, forward_pass)
    )


def with_gradients(boxes: list[ExplainedBox], forward_pass: ForwardPass) -> list[ExplainedBox]:
    """Give boxes the gradients of their targets in a forward pass."""
    return [box._replace(gradients=gradients_of(forward_pass, box.target)) for box in boxes]


def _match_annotations(
    detections: Detections, image_coco: dict, letterbox: Letterbox, max_detections: int
) -> tuple[list[dict | None], list[dict]]:
    """Match the detections of one image with its annotations at IoU 0.5, as COCOeval does.

    Returns:
        The annotation that each detection matches, None for a false positive; the annotations without a detection.
    """
    (entry,) = image_coco["images"]
    annotations = image_coco["annotations"]
    results = to_coco_results(detections, entry["id"], letterbox)
    matches = matched_annotations(run_cocoeval(image_coco, results, max_detections))
    annotation_of = {annotation["id"]: annotation for annotation in annotations}
    matched = [annotation_of.get(matches.get(index)) for index in range(len(detections.scores))]
    return matched, [annotation for annotation in annotations if annotation["id"] not in matches.values()]


def _detected_boxes(
    detections: Detections, matched: list[dict | None], letterbox: Letterbox, output: str, image_seed: tuple[int, int]
) -> list[ExplainedBox]:
    """Explain each detection by the one anchor that made it; gradients are left out."""
    boxes = []
    for annotation, (box_xyxy, score, label, anchor, level) in zip(matched, zip(*detections, strict=True), strict=True):
        kind, polygon = ("wrong", None) if annotation is None else ("right", _polygon_of(annotation, letterbox))
        target = Target(anchor[None], int(label), int(level), output)
        seed = (*image_seed, int(anchor))
        boxes.append(ExplainedBox(kind, box_xyxy.cpu().numpy(), polygon, float(score), target, [], seed))
    return boxes


def _missed_boxes(
    annotations: list[dict],
    logits: torch.Tensor,
    anchors_yxyx: torch.Tensor,
    levels: torch.Tensor,
    letterbox: Letterbox,
    output: str,
    image_seed: tuple[int, int],
) -> list[ExplainedBox]:
    """Explain each missed object by the anchors nearest to it, the largest object first; gradients are left out."""
    boxes = []
    for annotation in sorted(annotations, key=lambda annotation: -annotation["area"]):
        box_xyxy = boxes_xyxy_of([annotation])[0] * torch.tensor(letterbox.scale_xy * 2)
        anchors = nearest_anchors(anchors_yxyx, box_xyxy.to(anchors_yxyx.device))
        label = annotation["category_id"]
        score = float(logits[anchors, label - 1].max().sigmoid())
        target = Target(anchors, label, int(levels[anchors[0]]), output)
        seed = (*image_seed, int(anchors[0]))
        polygon = _polygon_of(annotation, letterbox)
        boxes.append(ExplainedBox("missed", box_xyxy.numpy(), polygon, score, target, [], seed))
    return boxes


def _polygon_of(annotation: dict, letterbox: Letterbox) -> torch.Tensor:
    """Scale an annotation's polygon to px of the input, float32 [points, 2]."""
    points = torch.tensor(annotation["segmentation"][0], dtype=torch.float32).view(-1, 2)
    return points * torch.tensor(letterbox.scale_xy)
