"""Test-time augmentation (TTA): detect in several scaled and mirrored views of each image and merge them by NMS.

The same method as mmdetection's DetTTAModel: boxes return to the original image, then one NMS over all views.
"""

from pathlib import Path

import torch
from torchvision.ops import batched_nms

from viadet.annotations.coco import by_image
from viadet.network.boxes import MAX_DETECTIONS, NMS_IOU, boxes_xyxy_of
from viadet.network.detect import detect_coco
from viadet.network.weights import load_network
from viadet.project.params import ViewsParams

SIDE_STEP_PX = 32  # the sides of the network's input are multiples of it


def detect_views(
    model_dir: Path,
    coco: dict,
    image_dir: Path,
    params: ViewsParams,
    test_wh: tuple[int, int],
    device: torch.device,
) -> list[dict]:
    """Detect objects in all views of each image and merge the views.

    Args:
        model_dir: a saved network.
        coco: data set in COCO format.
        image_dir: folder that the data set's file names are relative to.
        params: scales, and whether each view is mirrored as well.
        test_wh: px of the network's input at scale 1.
        device: where the network runs.

    Returns:
        Detections in COCO results format, boxes in px of the original image.
    """
    results = []
    for size_wh in view_sizes_wh(test_wh, params.scales):
        network, spec = load_network(model_dir, device, size_wh)
        for mirrored in (False, True) if params.flip else (False,):
            results += detect_coco(network, spec, coco, image_dir, device, mirrored)
    return merge_views(coco, results)


def view_sizes_wh(test_wh: tuple[int, int], scales: list[float]) -> list[tuple[int, int]]:
    """Scale the size of the network's input; each side is rounded to a multiple of SIDE_STEP_PX."""
    return [
        tuple(max(SIDE_STEP_PX, round(side * scale / SIDE_STEP_PX) * SIDE_STEP_PX) for side in test_wh)  # type: ignore[misc]
        for scale in scales
    ]


def merge_views(coco: dict, results: list[dict]) -> list[dict]:
    """Merge the detections of all views by NMS for each category, with the IoU and limit used within one view.

    Args:
        coco: data set in COCO format; the result is in the order of its images, best detection first.
        results: detections of all views in COCO results format, boxes in px of the original image.
    """
    results_by_image, kept = by_image(results), []
    for image in coco["images"]:
        candidates = results_by_image[image["id"]]
        boxes_xyxy = boxes_xyxy_of(candidates)
        scores = torch.tensor([result["score"] for result in candidates])
        labels = torch.tensor([result["category_id"] for result in candidates], dtype=torch.int64)
        best = batched_nms(boxes_xyxy, scores, labels, NMS_IOU)[:MAX_DETECTIONS].tolist()
        kept += [candidates[index] for index in best]
    return kept
