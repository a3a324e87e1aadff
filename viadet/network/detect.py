"""Detecting objects in image files."""

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

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
from viadet.network.results import Results
from viadet.network.weights import load_network

Prepared = TypeVar("Prepared")

MAX_INPUTS = 8  # that the network gets at once
MAX_INPUT_PX = MAX_INPUTS * 768**2  # of these together
MAX_CPU_INPUT_PX = 2 * 1152**2  # likewise on a CPU, where more are not faster; two of 1152 px take 1 GB


def inputs_at_once(input_wh: tuple[int, int], device: torch.device) -> int:
    """Say how many inputs of `input_wh` px the network gets at once."""
    width, height = input_wh
    max_px = MAX_CPU_INPUT_PX if device.type == "cpu" else MAX_INPUT_PX
    return max(1, min(MAX_INPUTS, max_px // (width * height)))


class ScaledNetwork(NamedTuple):
    """A network in eval mode, for one size of its input."""

    network: nn.Module
    spec: NetworkSpec
    anchors: tuple[torch.Tensor, torch.Tensor]  # as of `anchors_of`


def load_scaled(model_dir: Path, device: torch.device, input_wh: tuple[int, int]) -> ScaledNetwork:
    """Load a saved network for inputs of `input_wh` px; errors as of `load_network`."""
    network, spec = load_network(model_dir, device, input_wh)
    return ScaledNetwork(network, spec, anchors_of(network, device))


def read_batches(
    paths: list[Path], batch_size: int, prepare: Callable[[torch.Tensor], Prepared]
) -> Iterator[list[Prepared]]:
    """Decode image files, at most so many at a time, in their order, and prepare each, uint8 [3, H, W].

    All batches have nearly the same size: what is left over would often be a single image, for which a CPU computes in
    another order than for several. Only as many photographs as there are cores are in memory at once; what was
    prepared should be smaller.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        count = math.ceil(len(paths) / batch_size)
        for number in range(count):
            batch = paths[number * len(paths) // count : (number + 1) * len(paths) // count]
            yield list(pool.map(lambda path: prepare(read_image(path)), batch))


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
        batch_size: at most so many images at a time; None: `inputs_at_once`.
    """
    scaled = ScaledNetwork(network, spec, anchors_of(network, device))
    batch_size = batch_size or inputs_at_once(spec.input_wh, device)
    for inputs in read_batches(paths, batch_size, lambda image: letterboxed(image, spec)):
        yield from detect_inputs(scaled, inputs, device, max_detections)


def letterboxed(image: torch.Tensor, spec: NetworkSpec, mirrored: bool = False) -> InputImage:
    """Put a photograph, uint8 [3, H, W], into the network's input, perhaps mirrored."""
    return letterbox_image(image.flip(2) if mirrored else image, spec.input_wh, spec.fill_rgb)


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
) -> Results:
    """Detect objects in all images of a COCO data set; arguments as for `detect_images`."""
    paths = [image_dir / image["file_name"] for image in coco["images"]]
    images = detect_images(network, spec, paths, device, max_detections)
    results = Results()
    for image, detections in zip(coco["images"], images, strict=True):
        letterbox = letterbox_of(image["width"], image["height"], spec.input_wh)
        results.extend(to_coco_results(detections, image["id"], letterbox))
    return results
