"""Test-time augmentation (TTA): detect in several scaled and mirrored views of each image and merge what they find.

Two ways of merging: NMS over all views, as mmdetection's DetTTAModel does, or weighted boxes fusion.
"""

import math
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torchvision.ops import batched_nms

from viadet.annotations.coco import by_image
from viadet.evaluation.box_fusion import fuse_boxes
from viadet.images.letterbox import letterbox_of
from viadet.network.boxes import NMS_IOU, boxes_xyxy_of
from viadet.network.detect import batch_results, detect_inputs, inputs_at_once, letterboxed, load_scaled, read_batches
from viadet.network.results import Results
from viadet.project.params import ViewsParams

SIDE_STEP_PX = 32  # the sides of the network's input are multiples of it


class View(NamedTuple):
    """What was detected in one view of one or more images."""

    input_wh: tuple[int, int]  # px
    sides: tuple[float, float]  # px: only boxes from the first and below the second count, by the root of their area
    results: list[dict]  # COCO's, boxes in px of the original image

    def side_of(self, bbox_xywh: list[float], image: dict) -> float:
        """Give the root of a box's area in px of the view; the box is in px of the image, a COCO entry."""
        scale_x, scale_y = letterbox_of(image["width"], image["height"], self.input_wh).scale_xy
        return math.sqrt(bbox_xywh[2] * scale_x * bbox_xywh[3] * scale_y)

    def counts(self, bbox_xywh: list[float], image: dict) -> bool:
        """Tell whether this view is asked about boxes of this size."""
        return self.sides[0] <= self.side_of(bbox_xywh, image) < self.sides[1]


def detect_views(
    model_dir: Path,
    coco: dict,
    image_dir: Path,
    params: ViewsParams,
    test_wh: tuple[int, int],
    device: torch.device,
    max_detections: int,
) -> Results:
    """Detect objects in all views of each image and merge the views.

    Args:
        model_dir: a saved network.
        coco: data set in COCO format.
        image_dir: folder that the data set's file names are relative to.
        params: scales, whether each view is mirrored as well, which boxes count, how views are merged.
        test_wh: px of the network's input at scale 1.
        device: where the network runs.
        max_detections: of an image, in each view and merged.

    Returns:
        Detections, boxes in px of the original image.
    """
    networks = [load_scaled(model_dir, device, size_wh) for size_wh in view_sizes_wh(test_wh, params.scales)]
    all_sides = params.sides or [(0.0, math.inf)] * len(networks)
    flips = (False, True) if params.flip else (False,)
    passes = [(*one, mirrored) for one in zip(networks, all_sides, strict=True) for mirrored in flips]
    paths = [image_dir / image["file_name"] for image in coco["images"]]
    limit = min(inputs_at_once(scaled.spec.input_wh, device) for scaled in networks)
    batches = read_batches(paths, limit, lambda image: [letterboxed(image, one.spec, flip) for one, _, flip in passes])
    entries, merged = iter(coco["images"]), Results()
    for prepared in batches:
        batch, views = list(islice(entries, len(prepared))), []
        for (scaled, sides, mirrored), *inputs in zip(passes, *prepared, strict=True):
            detections = detect_inputs(scaled, inputs, device, max_detections, mirrored)
            results = batch_results(detections, inputs, [image["id"] for image in batch])
            views.append(View(scaled.spec.input_wh, sides, results))
        merged.extend(merge_views({"images": batch}, views, params.merge, max_detections))
    return merged


def view_sizes_wh(test_wh: tuple[int, int], scales: list[float]) -> list[tuple[int, int]]:
    """Scale the size of the network's input; each side is rounded to a multiple of SIDE_STEP_PX."""
    return [
        tuple(max(SIDE_STEP_PX, round(side * scale / SIDE_STEP_PX) * SIDE_STEP_PX) for side in test_wh)
        for scale in scales
    ]


def merge_views(coco: dict, views: list[View], merge: str, max_detections: int) -> list[dict]:
    """Merge the detections of all views for each image and category.

    Args:
        coco: data set in COCO format; the result is in the order of its images, best detection first.
        views: what was detected in each.
        merge: "wbf" or "nms", with the IoU used within one view.
        max_detections: of an image.
    """
    merged, groups = [], [by_image(view.results) for view in views]
    for image in coco["images"]:
        numbered = [  # with the number of the view
            (number, result)
            for number, (view, group) in enumerate(zip(views, groups, strict=True))
            for result in group[image["id"]]
            if view.counts(result["bbox"], image)
        ]
        if merge == "wbf":
            image_results = merge_by_fusion(numbered, views, image)
        else:
            image_results = merge_by_nms([result for _, result in numbered])
        merged += image_results[:max_detections]
    return merged


def merge_by_nms(results: list[dict]) -> list[dict]:
    """Apply NMS to the results of one image, for each category; best first."""
    scores = torch.tensor([result["score"] for result in results])
    labels = torch.tensor([result["category_id"] for result in results], dtype=torch.int64)
    return [results[index] for index in batched_nms(boxes_xyxy_of(results), scores, labels, NMS_IOU).tolist()]


def merge_by_fusion(numbered: list[tuple[int, dict]], views: list[View], image: dict) -> list[dict]:
    """Apply weighted boxes fusion to the results of one image, each with its view's number, for each category."""

    def asked(box_xyxy: np.ndarray) -> int:
        return sum(view.counts([0, 0, *(box_xyxy[2:] - box_xyxy[:2])], image) for view in views)

    results = []
    for category_id in sorted({result["category_id"] for _, result in numbered}):
        chosen = [(number, result) for number, result in numbered if result["category_id"] == category_id]
        boxes_xyxy, scores = fuse_boxes(
            boxes_xyxy_of([result for _, result in chosen]).double().numpy(),
            np.array([result["score"] for _, result in chosen]),
            np.array([number for number, _ in chosen]),
            asked,
        )
        for (x0, y0, x1, y1), score in zip(boxes_xyxy.tolist(), scores.tolist(), strict=True):
            bbox_xywh = [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)]
            entry = {"image_id": image["id"], "category_id": category_id}
            results.append(entry | {"bbox": bbox_xywh, "score": round(score, 5)})
    return sorted(results, key=lambda result: -result["score"])
