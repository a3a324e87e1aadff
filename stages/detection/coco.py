"""Looking into COCO's formats: annotations and results by image, their boxes as corners."""

from collections import defaultdict

import torch


def by_image(entries: list[dict]) -> dict[int, list[dict]]:
    """Group COCO annotations or results by image id; an image without any has an empty list."""
    groups = defaultdict(list)
    for entry in entries:
        groups[entry["image_id"]].append(entry)
    return groups


def boxes_xyxy_of(entries: list[dict]) -> torch.Tensor:
    """Turn the `bbox` (xywh) of COCO annotations or results into boxes, float32 [N, 4]."""
    boxes_xywh = torch.tensor([entry["bbox"] for entry in entries], dtype=torch.float32).reshape(-1, 4)
    return torch.cat([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], 1)
