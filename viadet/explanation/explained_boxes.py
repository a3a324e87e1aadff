"""The boxes that are explained in an image: its detections, right and wrong, and the objects that were missed."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from viadet.annotations.coco import boxes_xyxy_of, by_image
from viadet.detection.detector import Detector
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
    gradients: list[np.ndarray | None]  # by level, from `gradients_of`
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
        image_dir: folder that file names are relative to.
        image_coco: the data set of this one image, from `single_image_sets`.
        params: score threshold, and which output is explained.
        seed: of RandomCAM.
    """
    (entry,) = image_coco["images"]
    sized, limit = detector.plain_network, detector.settings.max_detections
    input_image = sized.letterbox(read_image(image_dir / entry["file_name"]))
    letterbox = input_image.letterbox
    forward_pass = run_forward(sized.network, sized.normalise(input_image.canvas[None]))
    logits, codes = forward_pass.logits.detach(), forward_pass.codes.detach()
    detections = sized.decode(logits, codes, letterbox, limit).above(params.score_threshold)
    hits = evaluate_coco(image_coco, {entry["id"]: detections}, limit).matches.hits_50.tolist()

    def explained(
        kind: str, box_xyxy: np.ndarray, annotation: dict | None, score: float, target: Target
    ) -> ExplainedBox:
        polygon = None if annotation is None else _polygon_of(annotation, letterbox)
        gradients = gradients_of(forward_pass, target)
        box_seed = (seed, entry["id"], int(target.anchors[0]))
        return ExplainedBox(kind, box_xyxy, polygon, score, target, gradients, box_seed)

    unmatched = {annotation["id"]: annotation for annotation in image_coco["annotations"]}
    detected, missed = [], []
    for row, box_xyxy in enumerate(letterbox.to_input(detections.boxes_xyxy)):
        annotation = unmatched.pop(hits[row], None)
        anchor = torch.from_numpy(detections.anchors[row : row + 1])  # the one that made the detection
        target = Target(anchor, int(detections.labels[row]), int(detections.levels[row]), params.target)
        kind = "wrong" if annotation is None else "right"
        detected.append(explained(kind, box_xyxy, annotation, float(detections.scores[row]), target))
    for annotation in sorted(unmatched.values(), key=lambda annotation: -annotation["area"]):
        (box_xyxy,) = letterbox.to_input(boxes_xyxy_of([annotation]))
        anchors = nearest_anchors(sized.anchors_yxyx, torch.from_numpy(box_xyxy).to(sized.device))
        label = annotation["category_id"]
        score = float(logits[anchors, label - 1].max().sigmoid())
        target = Target(anchors, label, int(sized.levels[anchors[0]]), params.target)
        missed.append(explained("missed", box_xyxy, annotation, score, target))
    return ExplainedImage(input_image, forward_pass, detected, missed)


def _polygon_of(annotation: dict, letterbox: Letterbox) -> torch.Tensor:
    """Scale an annotation's polygon to px of the input, float32 [points, 2]."""
    points = torch.tensor(annotation["segmentation"][0], dtype=torch.float32).view(-1, 2)
    return points * torch.tensor(letterbox.scale_xy)
