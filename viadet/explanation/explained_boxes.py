"""The boxes that are explained in an image: its detections, right and wrong, and the objects that were missed."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from viadet.annotations.coco import boxes_xyxy_of, by_image
from viadet.detection.detections import Detections
from viadet.detection.detector import Detector
from viadet.detection.sized_network import SizedNetwork
from viadet.evaluation.coco_metrics import evaluate_coco
from viadet.explanation.targets import ForwardPass, Target, gradients_of, nearest_anchors, run_forward
from viadet.images.letterbox import InputImage, Letterbox
from viadet.images.pixels import read_image
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
    detector: Detector, image_dir: Path, image_coco: dict, params: GradCamParams, seed: int
) -> ExplainedImage:
    """Run the network on one image of a COCO data set and match its detections with the image's annotations.

    Args:
        detector: whose network is explained, in plain images.
        image_dir: folder of the images.
        image_coco: the data set of this one image, from `single_image_sets`.
        params: score threshold, and which output is explained.
        seed: of RandomCAM.
    """
    (entry,) = image_coco["images"]
    sized, limit = detector.plain_network, detector.settings.max_detections
    input_image = sized.letterbox(read_image(image_dir / entry["file_name"]))
    forward_pass = run_forward(sized.network, sized.normalise(input_image.canvas[None]))
    logits, codes = forward_pass.logits.detach(), forward_pass.codes.detach()
    detections = sized.decode(logits, codes, input_image.letterbox, limit).above(params.score_threshold)

    matches = evaluate_coco(image_coco, {entry["id"]: detections}, limit).matches
    annotation_of = {annotation["id"]: annotation for annotation in image_coco["annotations"]}
    matched = [annotation_of.get(annotation_id) for annotation_id in matches.hits_50.tolist()]
    unmatched = [annotation for id_, annotation in annotation_of.items() if id_ not in matches.hits_50]

    image_seed = (seed, entry["id"])
    detected = _detected_boxes(detections, matched, input_image.letterbox, params.target, image_seed)
    missed = _missed_boxes(unmatched, logits, sized, input_image.letterbox, params.target, image_seed)
    return ExplainedImage(
        input_image, forward_pass, with_gradients(detected, forward_pass), with_gradients(missed, forward_pass)
    )


def with_gradients(boxes: list[ExplainedBox], forward_pass: ForwardPass) -> list[ExplainedBox]:
    """Give boxes the gradients of their targets in a forward pass."""
    return [box._replace(gradients=gradients_of(forward_pass, box.target)) for box in boxes]


def _detected_boxes(
    detections: Detections, matched: list[dict | None], letterbox: Letterbox, output: str, image_seed: tuple[int, int]
) -> list[ExplainedBox]:
    """Explain each detection by the one anchor that made it; gradients are left out."""
    boxes = []
    for row, (box_xyxy, annotation) in enumerate(zip(letterbox.to_input(detections.boxes_xyxy), matched, strict=True)):
        kind, polygon = ("wrong", None) if annotation is None else ("right", _polygon_of(annotation, letterbox))
        anchor = detections.anchors[row : row + 1]
        target = Target(torch.from_numpy(anchor), int(detections.labels[row]), int(detections.levels[row]), output)
        seed = (*image_seed, int(anchor[0]))
        boxes.append(ExplainedBox(kind, box_xyxy, polygon, float(detections.scores[row]), target, [], seed))
    return boxes


def _missed_boxes(
    annotations: list[dict],
    logits: torch.Tensor,
    sized: SizedNetwork,
    letterbox: Letterbox,
    output: str,
    image_seed: tuple[int, int],
) -> list[ExplainedBox]:
    """Explain each missed object by the anchors nearest to it, the largest object first; gradients are left out."""
    boxes = []
    for annotation in sorted(annotations, key=lambda annotation: -annotation["area"]):
        (box_xyxy,) = letterbox.to_input(boxes_xyxy_of([annotation]))
        anchors = nearest_anchors(sized.anchors_yxyx, torch.from_numpy(box_xyxy).to(sized.device))
        label = annotation["category_id"]
        score = float(logits[anchors, label - 1].max().sigmoid())
        target = Target(anchors, label, int(sized.levels[anchors[0]]), output)
        seed = (*image_seed, int(anchors[0]))
        boxes.append(ExplainedBox("missed", box_xyxy, _polygon_of(annotation, letterbox), score, target, [], seed))
    return boxes


def _polygon_of(annotation: dict, letterbox: Letterbox) -> torch.Tensor:
    """Scale an annotation's polygon to px of the input, float32 [points, 2]."""
    points = torch.tensor(annotation["segmentation"][0], dtype=torch.float32).view(-1, 2)
    return points * torch.tensor(letterbox.scale_xy)
