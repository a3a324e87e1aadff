"""Writing a detector as a file of `torch.export`: the same inputs and outputs as the ONNX file has."""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn
from torchvision.ops import nms

from viadet.inference.candidates import CandidateNetwork
from viadet.inference.export_check import ExportedDetector
from viadet.inference.export_metadata import export_metadata
from viadet.network.boxes import MAX_DETECTIONS, MIN_SCORE, NMS_IOU, VOTE_IOU
from viadet.network.detect import ScaledNetwork

METADATA_NAME = "metadata.json"  # of torch.export.load's `extra_files`


class DetectionProgram(nn.Module):
    """A detector without Python code that depends on the data."""

    def __init__(self, scaled: ScaledNetwork, threshold: float) -> None:
        """Put the parts together; scores are at least `threshold`."""
        super().__init__()
        spec = scaled.spec
        self.candidates = CandidateNetwork(scaled.network, spec)
        self.num_classes = len(spec.categories)
        self.threshold = threshold
        self.input_wh = spec.input_wh
        self.register_buffer("input_hw", torch.tensor(spec.input_wh[::-1], dtype=torch.float64))
        self.register_buffer("fill", torch.tensor(spec.fill_rgb, dtype=torch.uint8).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Detect objects.

        Args:
            images: uint8 [B, H, W, 3], RGB.

        Returns:
            Boxes, float32 [B, D, 4] as xyxy px of the images; scores [B, D], best first; labels [B, D]. D is the
            greatest number of detections of an image; the other images' rows end in zeros.
        """
        canvas, fitted_wh, scale_xy = self.letterbox(images)
        candidates_xyxy, scores, labels = self.candidates(canvas)
        candidates_xyxy = candidates_xyxy.clamp(min=0).minimum(fitted_wh.repeat(2))
        has_area = ((candidates_xyxy[..., 2:] - candidates_xyxy[..., :2]) > 0).all(2)
        voters = torch.where(has_area & (scores >= MIN_SCORE), scores, 0)
        kept = self.suppress(candidates_xyxy, torch.where(scores >= self.threshold, voters, 0), labels)
        kept_scores, order = kept.topk(min(MAX_DETECTIONS, kept.shape[1]))
        voted_xyxy = vote(candidates_xyxy, voters, labels, order)
        is_detection = kept_scores > 0
        boxes_xyxy = torch.where(is_detection.unsqueeze(2), voted_xyxy / scale_xy.repeat(2), 0)
        kept_labels = torch.where(is_detection, labels.gather(1, order), 0)
        count = is_detection.sum(1).max().item()
        torch._check(count >= 0)
        torch._check(count <= MAX_DETECTIONS)
        return boxes_xyxy[:, :count], kept_scores[:, :count], kept_labels[:, :count]

    def letterbox(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Do what `viadet.images.letterbox.letterbox_image` does, for a batch of images of one size.

        Returns:
            The canvas, uint8 [B, 3, H, W]; the width and height of the images in it, and their scale, float32 [2].
        """
        batch, height, width, _ = images.shape
        input_width, input_height = self.input_wh
        image_hw = torch.stack([torch.scalar_tensor(side, dtype=torch.float64) for side in (height, width)])
        fitted_hw = (image_hw * (self.input_hw / image_hw).min()).round().clamp(min=1).minimum(self.input_hw)
        fitted_height, fitted_width = fitted_hw.long().tolist()
        for side, most in ((fitted_height, input_height), (fitted_width, input_width)):
            torch._check(side >= 1)
            torch._check(side <= most)
        size_hw = (fitted_height, fitted_width)
        photographs = F.interpolate(images.permute(0, 3, 1, 2), size=size_hw, mode="bilinear", antialias=True)
        canvas = self.fill.repeat(batch, 1, input_height, input_width)
        canvas[:, :, :fitted_height, :fitted_width] = photographs
        return canvas, fitted_hw.flip(0).float(), (fitted_hw / image_hw).flip(0).float()

    def suppress(self, boxes_xyxy: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Set the scores of overlapping boxes of the same image and class to 0, all but the best.

        Args:
            boxes_xyxy: [B, N, 4].
            scores: [B, N]; boxes of score 0 do not count.
            labels: [B, N].
        """
        flat_scores = torch.cat([scores.flatten(), scores.new_zeros(1)])
        places = flat_scores.nonzero()[:, 0]
        groups = places // scores.shape[1] * self.num_classes + labels.flatten()[places]
        # far apart by group, in float64, as float32 would round boxes of many groups
        apart_xyxy = boxes_xyxy.flatten(0, 1)[places].double() + (groups * (max(self.input_wh) + 1)).unsqueeze(1)
        # torchvision declares that nms keeps two boxes or more: here are two more, which stand for the last score, 0
        apart_xyxy = torch.cat([apart_xyxy, apart_xyxy.new_tensor([[-4, -4, -3, -3], [-2, -2, -1, -1]])])
        places = torch.cat([places, places.new_full((2,), scores.numel())])
        best = places[nms(apart_xyxy, flat_scores[places].double(), NMS_IOU)]
        kept = torch.zeros_like(flat_scores).scatter(0, best, flat_scores[best])
        return kept[:-1].unflatten(0, scores.shape)


def vote(boxes_xyxy: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Average each kept box with the candidates nearly equal to it, as `viadet.network.boxes.vote`.

    Args:
        boxes_xyxy: [B, N, 4], the candidates.
        scores: [B, N]; candidates of score 0 do not count.
        labels: [B, N].
        kept: [B, D], places of the kept ones.
    """
    boxes, kept_boxes = boxes_xyxy.unsqueeze(1), boxes_xyxy.gather(1, kept.unsqueeze(2).expand(-1, -1, 4)).unsqueeze(2)
    low, high = torch.maximum(boxes[..., :2], kept_boxes[..., :2]), torch.minimum(boxes[..., 2:], kept_boxes[..., 2:])
    overlap = (high - low).clamp(min=0).prod(3)
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(3) + (kept_boxes[..., 2:] - kept_boxes[..., :2]).prod(3)
    same_class = labels.unsqueeze(1) == labels.gather(1, kept).unsqueeze(2)
    weights = torch.where((overlap / (areas - overlap) >= VOTE_IOU) & same_class, scores.unsqueeze(1), 0)  # [B, D, N]
    return weights @ boxes_xyxy / weights.sum(2, keepdim=True)


def write_pt2(scaled: ScaledNetwork, threshold: float, path: Path) -> None:
    """Write a file of `torch.export` for inputs of the network's size.

    Args:
        scaled: the network on the CPU, in eval mode.
        threshold: least score of a detection.
        path: of the file.
    """
    free = torch.export.Dim
    program = torch.export.export(
        DetectionProgram(scaled, threshold).eval(),
        (torch.zeros(2, 301, 403, 3, dtype=torch.uint8),),
        dynamic_shapes=({0: free("batch", min=1), 1: free("height", min=1), 2: free("width", min=1)},),
    )
    metadata = json.dumps(export_metadata(scaled.spec, threshold))
    with path.open("wb") as file:  # given a path, torch wants the suffix pt2
        torch.export.save(program, file, extra_files={METADATA_NAME: metadata})


def open_pt2(path: Path) -> ExportedDetector:
    """Load an exported file, to be called with arrays."""
    with path.open("rb") as file:
        program = torch.export.load(file).module()

    def detect(images: NDArray[np.uint8]) -> tuple[NDArray, NDArray, NDArray]:
        with torch.inference_mode():
            boxes_xyxy, scores, labels = program(torch.from_numpy(images))
        return boxes_xyxy.numpy(), scores.numpy(), labels.numpy()

    return detect
