"""Decoding boxes: from network outputs to detections with their anchors and pyramid levels; COCO results."""

from typing import NamedTuple

import torch
from effdet.anchors import Anchors, clip_boxes_xyxy, decode_box_outputs
from torch import nn
from torchvision.ops import batched_nms, box_iou

from viadet.images.letterbox import Letterbox
from viadet.network.build import level_names

MIN_SCORE = 0.001  # the usual floor; AP depends on the whole ranking
MAX_DETECTIONS = 100  # of an image, unless `evaluate.max_detections` says otherwise: COCO's number
CANDIDATES_PER_DETECTION = 50  # anchors that go into NMS: effdet's 5000 for 100 detections
NMS_IOU = 0.5  # effdet's number
VOTE_IOU = 0.8  # chosen on held-out photographs, see docs/trials.md


class Detections(NamedTuple):
    """Detections of one image, best first."""

    boxes_xyxy: torch.Tensor  # float32 [N, 4], px of the network's input, within the photograph
    scores: torch.Tensor  # float32 [N], 0..1
    labels: torch.Tensor  # int64 [N], from 1
    anchors: torch.Tensor  # int64 [N], index into all anchors, P3's first
    levels: torch.Tensor  # int64 [N], index into the network's levels, P3 is 0

    def best(self, score_threshold: float, count: int | None = None) -> "Detections":
        """Keep at most `count` detections of at least `score_threshold`."""
        kept = int((self.scores >= score_threshold).sum())
        return Detections(*(values[: kept if count is None else min(kept, count)] for values in self))


def flat_outputs(class_out: list[torch.Tensor], box_out: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Concatenate the outputs of all levels in the order of effdet's anchors.

    Args:
        class_out: by level, [B, 9 * K, H, W].
        box_out: by level, [B, 9 * 4, H, W].

    Returns:
        Class logits [B, A, K] and box codes [B, A, 4].
    """
    images, num_classes = len(class_out[0]), class_out[0].shape[1] * 4 // box_out[0].shape[1]
    logits = [level.permute(0, 2, 3, 1).reshape(images, -1, num_classes) for level in class_out]
    codes = [level.permute(0, 2, 3, 1).reshape(images, -1, 4) for level in box_out]
    return torch.cat(logits, 1), torch.cat(codes, 1)


def anchors_of(network: nn.Module, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Make all anchors, float32 [A, 4] as yxyx px of the network's input, and the level of each, int64 [A]."""
    anchors = Anchors.from_config(network.config)
    per_level = [
        height * width * anchors.get_anchors_per_location()
        for height, width in (size for size in anchors.feat_sizes[anchors.min_level : anchors.max_level + 1])
    ]
    levels = torch.arange(len(level_names(network))).repeat_interleave(torch.tensor(per_level))
    return anchors.boxes.to(device), levels.to(device)


def decode(
    logits: torch.Tensor,
    codes: torch.Tensor,
    anchors_yxyx: torch.Tensor,
    levels: torch.Tensor,
    letterbox: Letterbox,
    max_detections: int = MAX_DETECTIONS,
) -> Detections:
    """Decode one image's outputs: best candidates, boxes within the photograph, NMS and box voting for each class.

    Args:
        logits: [A, K].
        codes: [A, 4].
        anchors_yxyx: [A, 4], px of the network's input.
        levels: [A].
        letterbox: where the photograph lies in the input.
        max_detections: that are kept, all classes together.
    """
    candidates = CANDIDATES_PER_DETECTION * max(max_detections, MAX_DETECTIONS)
    scores, order = logits.float().sigmoid().flatten().sort(descending=True, stable=True)
    kept = scores[:candidates] >= MIN_SCORE
    scores, order = scores[:candidates][kept], order[:candidates][kept]
    anchors, labels = order // logits.shape[1], order % logits.shape[1] + 1
    boxes_xyxy = decode_box_outputs(codes[anchors].float(), anchors_yxyx[anchors], output_xyxy=True)
    boxes_xyxy = clip_boxes_xyxy(boxes_xyxy, boxes_xyxy.new_tensor([letterbox.width, letterbox.height]))
    inside = ((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) > 0).all(1).nonzero().flatten()
    best = inside[batched_nms(boxes_xyxy[inside], scores[inside], labels[inside], NMS_IOU)[:max_detections]]
    voted_xyxy = vote(boxes_xyxy[inside], scores[inside], labels[inside], boxes_xyxy[best], labels[best])
    return Detections(voted_xyxy, scores[best], labels[best], anchors[best], levels[anchors[best]])


def vote(
    boxes_xyxy: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor,
    kept_xyxy: torch.Tensor,
    kept_labels: torch.Tensor,
) -> torch.Tensor:
    """Average each box that NMS kept with those nearly equal to it, weighted by score: box voting.

    Source: Gidaris and Komodakis 2015, Object detection via a multi-region and semantic segmentation-aware CNN model,
    section 5, with a higher IoU.

    Args:
        boxes_xyxy: [N, 4], the candidates before NMS.
        scores: [N].
        labels: [N].
        kept_xyxy: [K, 4], those of them that NMS kept.
        kept_labels: [K].

    Returns:
        The kept boxes, moved, [K, 4].
    """
    voted = [boxes_xyxy.new_zeros(0, 4)]
    for rows_xyxy, rows_labels in zip(kept_xyxy.split(MAX_DETECTIONS), kept_labels.split(MAX_DETECTIONS), strict=True):
        is_voter = (box_iou(rows_xyxy, boxes_xyxy) >= VOTE_IOU) & (rows_labels[:, None] == labels)
        weights = is_voter * scores
        voted.append(weights @ boxes_xyxy / weights.sum(1, keepdim=True))
    return torch.cat(voted)


def mirror_boxes_xyxy(boxes_xyxy: torch.Tensor, width: float) -> torch.Tensor:
    """Mirror boxes [N, 4] from left to right within a `width`; twice is where they were."""
    return torch.stack([width - boxes_xyxy[:, 2], boxes_xyxy[:, 1], width - boxes_xyxy[:, 0], boxes_xyxy[:, 3]], 1)


def to_coco_results(detections: Detections, image_id: int, letterbox: Letterbox) -> list[dict]:
    """Turn detections into COCO's results format: xywh boxes in px of the original image."""
    scale_x, scale_y = letterbox.scale_xy
    results = []
    rows = zip(detections.boxes_xyxy.tolist(), detections.scores.tolist(), detections.labels.tolist(), strict=True)
    for (x0, y0, x1, y1), score, label in rows:
        box_xywh = [x0 / scale_x, y0 / scale_y, (x1 - x0) / scale_x, (y1 - y0) / scale_y]
        results.append(
            {
                "image_id": image_id,
                "category_id": label,
                "bbox": [round(value, 2) for value in box_xywh],
                "score": round(score, 5),
            }
        )
    return results


def boxes_xyxy_of(entries: list[dict]) -> torch.Tensor:
    """Turn the `bbox` (xywh) of COCO annotations or results into boxes, float32 [N, 4]."""
    boxes_xywh = torch.tensor([entry["bbox"] for entry in entries], dtype=torch.float32).reshape(-1, 4)
    return torch.cat([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], 1)
