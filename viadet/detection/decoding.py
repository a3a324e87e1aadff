"""From the network's outputs to detections: the best anchors' boxes, NMS, box voting."""

import numpy as np
import torch
from torchvision.ops import batched_nms, box_iou

from viadet.detection.detections import Detections
from viadet.images.letterbox import Letterbox
from viadet.network.effdet_parts import clip_boxes_xyxy, decode_box_outputs

MIN_SCORE = 0.001  # the usual floor; AP depends on the whole ranking
MAX_DETECTIONS = 100  # of an image, unless `evaluate.max_detections` says otherwise: COCO's number
CANDIDATES_PER_DETECTION = 50  # anchors that go into NMS: effdet's 5000 for 100 detections
MAX_CANDIDATES = 50_000  # of an image: NMS compares each box that it keeps with all others
NMS_IOU = 0.5  # effdet's number
VOTE_IOU = 0.8  # chosen on held-out photographs, see docs/accuracy.md


def candidates_for(max_detections: int) -> int:
    """Count the anchors and classes of an image that go into NMS: 50 for a detection, fewer if that is too many."""
    return min(CANDIDATES_PER_DETECTION * max(max_detections, MAX_DETECTIONS), MAX_CANDIDATES)


def decode(
    logits: torch.Tensor,
    codes: torch.Tensor,
    anchors_yxyx: torch.Tensor,
    levels: torch.Tensor,
    letterbox: Letterbox,
    max_detections: int = MAX_DETECTIONS,
    mirrored: bool = False,
    categories: tuple[str, ...] = (),
) -> Detections:
    """Decode one image's outputs into detections; arguments as for `decode_rows`.

    Args:
        categories: names, in the order of the classes.
    """
    rows = decode_rows(logits, codes, anchors_yxyx, levels, letterbox, max_detections, mirrored)
    return detections_of(rows.cpu(), letterbox, categories)


def decode_rows(
    logits: torch.Tensor,
    codes: torch.Tensor,
    anchors_yxyx: torch.Tensor,
    levels: torch.Tensor,
    letterbox: Letterbox,
    max_detections: int,
    mirrored: bool,
) -> torch.Tensor:
    """Decode one image's outputs: best candidates, boxes within the photograph, NMS and box voting for each class.

    Args:
        logits: [A, K].
        codes: [A, 4].
        anchors_yxyx: [A, 4], px of the network's input.
        levels: [A].
        letterbox: where the photograph lies in the input.
        max_detections: that are kept, all classes together.
        mirrored: the photograph was mirrored; the boxes are those of the unmirrored one.

    Returns:
        What `detections_of` takes, float32 [N, 8], best first, still on the device: the box as xyxy px of the input,
        score, label, anchor and level. float32 holds all whole numbers up to 2**24, and inputs have fewer anchors.
    """
    scores = logits.float().sigmoid().flatten()
    order = best_candidates(scores, candidates_for(max_detections))
    scores, anchors, labels = scores[order], order // logits.shape[1], order % logits.shape[1] + 1
    boxes_xyxy = decode_box_outputs(codes[anchors].float(), anchors_yxyx[anchors], output_xyxy=True)
    photograph_wh = boxes_xyxy.new_tensor([letterbox.width, letterbox.height])
    boxes_xyxy = clip_boxes_xyxy(boxes_xyxy, photograph_wh)
    inside = ((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) > 0).all(1).nonzero().flatten()
    best = inside[batched_nms(boxes_xyxy[inside], scores[inside], labels[inside], NMS_IOU)[:max_detections]]
    input_xyxy = vote(boxes_xyxy[inside], scores[inside], labels[inside], boxes_xyxy[best], labels[best])
    input_xyxy = clip_boxes_xyxy(input_xyxy, photograph_wh)  # a mean of equal edges can be off in its last digit
    if mirrored:
        input_xyxy = mirror_boxes_xyxy(input_xyxy, letterbox.width)
    numbers = torch.stack([labels[best], anchors[best], levels[anchors[best]]], 1)
    return torch.cat([input_xyxy, scores[best, None], numbers.float()], 1)


def best_candidates(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Find the best of scores [N], at most `count` and none below MIN_SCORE: indices, best first, equal ones in order.

    Only these are sorted: to sort the scores of all anchors and classes takes longer than the network.
    """
    places = (scores >= MIN_SCORE).nonzero().flatten()
    if len(places) > count:  # such as those of an untrained network
        values = scores[places]
        least = values.topk(count, sorted=False).values.min()
        above, equal = places[values > least], places[values == least]
        places = torch.cat([above, equal[: count - len(above)]])
    return places[scores[places].sort(descending=True, stable=True).indices[:count]]


def detections_of(rows: torch.Tensor, letterbox: Letterbox, categories: tuple[str, ...]) -> Detections:
    """Make an image's detections, in px of the photograph, of the rows that `decode_rows` gave, moved to the CPU."""
    # in numpy, as GPUs of Macs have no float64
    image_xyxy = rows[:, :4].numpy().astype(np.float64) / np.array(letterbox.scale_xy * 2)
    labels, anchors, levels = (rows[:, column].long().numpy() for column in (5, 6, 7))
    return Detections(image_xyxy.astype(np.float32), rows[:, 4].numpy(), labels, categories, anchors, levels)


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
