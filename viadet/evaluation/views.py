"""Test-time augmentation: detections in several views of an image, put together."""

from pathlib import Path

import torch
from torchvision.ops import batched_nms

from viadet.annotations.coco import by_image
from viadet.network.boxes import MAX_DETECTIONS, NMS_IOU, boxes_xyxy_of
from viadet.network.detect import detect_coco
from viadet.network.weights import load_network
from viadet.project.params import ViewsParams

SIDE_STEP = 32  # px, as of the input's sides


def view_sizes_wh(test_wh: tuple[int, int], scales: list[float]) -> list[tuple[int, int]]:
    """Scale the input's size; each side is a multiple of SIDE_STEP."""
    return [
        tuple(max(SIDE_STEP, round(side * scale / SIDE_STEP) * SIDE_STEP) for side in test_wh)  # type: ignore[misc]
        for scale in scales
    ]


def detect_views(
    model_dir: Path,
    coco: dict,
    image_dir: Path,
    params: ViewsParams,
    test_wh: tuple[int, int],
    device: torch.device,
) -> list[dict]:
    """Detect objects in each image at several sizes, and mirrored; COCO's results format."""
    results = []
    for size_wh in view_sizes_wh(test_wh, params.scales):
        network, spec = load_network(model_dir, device, size_wh)
        for mirrored in (False, True) if params.flip else (False,):
            results += detect_coco(network, spec, coco, image_dir, device, mirrored)
    return fuse_views(coco, results)


def fuse_views(coco: dict, results: list[dict]) -> list[dict]:
    """Keep the best of overlapping detections of a category, as within one view, and the best of an image."""
    groups, kept = by_image(results), []
    for image in coco["images"]:
        found = groups[image["id"]]
        boxes_xyxy = boxes_xyxy_of(found)
        scores = torch.tensor([result["score"] for result in found])
        labels = torch.tensor([result["category_id"] for result in found], dtype=torch.int64)
        kept += [found[i] for i in batched_nms(boxes_xyxy, scores, labels, NMS_IOU)[:MAX_DETECTIONS].tolist()]
    return kept
