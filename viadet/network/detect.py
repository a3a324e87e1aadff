"""Detecting objects in image files."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

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
from viadet.network.weights import load_network

MAX_INPUTS = 8  # that the network gets at once
MAX_INPUT_PX = MAX_INPUTS * 768**2  # of these together: larger inputs are faster a few at a time, and take less memory


def inputs_at_once(input_wh: tuple[int, int]) -> int:
    """Say how many inputs of `input_wh` px the network gets at once."""
    width, height = input_wh
    return max(1, min(MAX_INPUTS, MAX_INPUT_PX // (width * height)))


class ScaledNetwork(NamedTuple):
    """A network in eval mode, for one size of its input."""

    network: nn.Module
    spec: NetworkSpec
    anchors: tuple[torch.Tensor, torch.Tensor]  # as of `anchors_of`


def load_scaled(model_dir: Path, device: torch.device, input_wh: tuple[int, int]) -> ScaledNetwork:
    """Load a saved network for inputs of `input_wh` px; errors as of `load_network`."""
    network, spec = load_network(model_dir, device, input_wh)
    return ScaledNetwork(network, spec, anchors_of(network, device))


def read_batches(paths: list[Path], batch_size: int) -> Iterator[list[torch.Tensor]]:
    """Decode image files, so many at a time, in their order; uint8 [3, H, W] each."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), batch_size):
            yield list(pool.map(read_image, paths[start : start + batch_size]))


def detect_images(
    network: nn.Module,
    spec: NetworkSpec,
    paths: list[Path],
    device: torch.device,
    max_detections: int = MAX_DETECTIONS,
    batch_size: int | None = None,
) -> Iterator[Detections]:
    """Detect objects in image files, in their order, in float32 on any device.

    Args:
        network: in eval mode.
        spec: what it was built from.
        paths: of the images.
        device: the network's.
        max_detections: of an image.
        batch_size: images at a time; None: `inputs_at_once`.
    """
    scaled = ScaledNetwork(network, spec, anchors_of(network, device))
    for images in read_batches(paths, batch_size or inputs_at_once(spec.input_wh)):
        yield from detect_inputs(scaled, letterboxed(images, spec), device, max_detections)


def letterboxed(images: list[torch.Tensor], spec: NetworkSpec, mirrored: bool = False) -> list[InputImage]:
    """Put photographs, uint8 [3, H, W], into the network's input, all of them mirrored or none."""
    views = [image.flip(2) for image in images] if mirrored else images
    return [letterbox_image(view, spec.input_wh, spec.fill_rgb) for view in views]


def detect_inputs(
    scaled: ScaledNetwork,
    inputs: list[InputImage],
    device: torch.device,
    max_detections: int = MAX_DETECTIONS,
    mirrored: bool = False,
) -> list[Detections]:
    """Detect objects in a batch of letterboxed photographs, in float32.

    Args:
        scaled: the network.
        inputs: the photographs, letterboxed to its input.
        device: the network's.
        max_detections: of an image.
        mirrored: the photographs were mirrored; the boxes are those of the unmirrored ones.
    """
    batch = torch.stack([input_image.canvas for input_image in inputs])
    with torch.inference_mode():
        logits, codes = flat_outputs(*scaled.network(prepare_images(batch, scaled.spec, device)))
    batch_detections = []
    for (_, letterbox), image_logits, image_codes in zip(inputs, logits, codes, strict=True):
        detections = decode(image_logits, image_codes, *scaled.anchors, letterbox, max_detections)
        if mirrored:
            boxes_xyxy = mirror_boxes_xyxy(detections.boxes_xyxy, letterbox.width)
            detections = detections._replace(boxes_xyxy=boxes_xyxy)
        batch_detections.append(Detections(*(values.cpu() for values in detections)))
    return batch_detections


def batch_results(detections: list[Detections], inputs: list[InputImage], image_ids: list[int]) -> list[dict]:
    """Convert the detections in a batch to COCO's results format, boxes in px of the original images."""
    return [
        result
        for image_detections, (_, letterbox), image_id in zip(detections, inputs, image_ids, strict=True)
        for result in to_coco_results(image_detections, image_id, letterbox)
    ]


def detect_coco(
    network: nn.Module,
    spec: NetworkSpec,
    coco: dict,
    image_dir: Path,
    device: torch.device,
    max_detections: int = MAX_DETECTIONS,
) -> list[dict]:
    """Detect objects in all images of a COCO data set; arguments as for `detect_images`, COCO's results format."""
    paths = [image_dir / image["file_name"] for image in coco["images"]]
    images = detect_images(network, spec, paths, device, max_detections)
    results = []
    for image, detections in zip(coco["images"], images, strict=True):
        letterbox = letterbox_of(image["width"], image["height"], spec.input_wh)
        results += to_coco_results(detections, image["id"], letterbox)
    return results
