"""Detecting objects in image files."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import nn

from viadet.images.letterbox import InputImage, letterbox_image, letterbox_of
from viadet.images.pixels import read_image
from viadet.network.boxes import (
    MAX_DETECTIONS,
    Detections,
    anchors_of,
    decode,
    flat_outputs,
    mirror_boxes_xyxy,
    to_coco_results,
)
from viadet.network.build import NetworkSpec, prepare_images

MAX_INPUTS = 8  # that the network gets at once
MAX_INPUT_PX = MAX_INPUTS * 768**2  # of these together: larger inputs are faster a few at a time, and take less memory


def inputs_at_once(input_wh: tuple[int, int]) -> int:
    """Say how many inputs of `input_wh` px the network gets at once."""
    width, height = input_wh
    return max(1, min(MAX_INPUTS, MAX_INPUT_PX // (width * height)))


def detect_images(
    network: nn.Module,
    spec: NetworkSpec,
    paths: list[Path],
    device: torch.device,
    max_detections: int = MAX_DETECTIONS,
    mirrored: bool = False,
    batch_size: int | None = None,
) -> Iterator[Detections]:
    """Detect objects in image files, in their order, in float32 on any device.

    Args:
        network: in eval mode.
        spec: what it was built from.
        paths: of the images.
        device: the network's.
        max_detections: of an image.
        mirrored: show the network mirrored images; the boxes are those of the unmirrored ones.
        batch_size: images at a time; None: `inputs_at_once`.
    """
    batch_size = batch_size or inputs_at_once(spec.input_wh)
    anchors = anchors_of(network, device)
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), batch_size):
            images = list(pool.map(read_image, paths[start : start + batch_size]))
            views = [image.flip(2) for image in images] if mirrored else images
            inputs = [letterbox_image(view, spec.input_wh, spec.fill_rgb) for view in views]
            yield from detect_inputs(network, spec, inputs, anchors, device, max_detections, mirrored)


def detect_inputs(
    network: nn.Module,
    spec: NetworkSpec,
    inputs: list[InputImage],
    anchors: tuple[torch.Tensor, torch.Tensor],
    device: torch.device,
    max_detections: int = MAX_DETECTIONS,
    mirrored: bool = False,
) -> list[Detections]:
    """Detect objects in a batch of letterboxed photographs; `anchors` as of `anchors_of`, others as `detect_images`."""
    batch = torch.stack([input_image.canvas for input_image in inputs])
    with torch.inference_mode():
        logits, codes = flat_outputs(*network(prepare_images(batch, spec, device)))
    batch_detections = []
    for (_, letterbox), image_logits, image_codes in zip(inputs, logits, codes, strict=True):
        detections = decode(image_logits, image_codes, *anchors, letterbox, max_detections)
        if mirrored:
            boxes_xyxy = mirror_boxes_xyxy(detections.boxes_xyxy, letterbox.width)
            detections = detections._replace(boxes_xyxy=boxes_xyxy)
        batch_detections.append(Detections(*(values.cpu() for values in detections)))
    return batch_detections


def detect_coco(
    network: nn.Module,
    spec: NetworkSpec,
    coco: dict,
    image_dir: Path,
    device: torch.device,
    max_detections: int = MAX_DETECTIONS,
    mirrored: bool = False,
) -> list[dict]:
    """Detect objects in all images of a COCO data set; arguments as for `detect_images`, COCO's results format."""
    paths = [image_dir / image["file_name"] for image in coco["images"]]
    images = detect_images(network, spec, paths, device, max_detections, mirrored)
    results = []
    for image, detections in zip(coco["images"], images, strict=True):
        letterbox = letterbox_of(image["width"], image["height"], spec.input_wh)
        results += to_coco_results(detections, image["id"], letterbox)
    return results
