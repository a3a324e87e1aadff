"""A detector: from image files, Pillow images or arrays to detections, in one view of each or in several.

import viadet

detector = viadet.load("data/model")
detections = detector("photograph.jpg")  # or a Pillow image, an array, a list of these
detections.boxes_xyxy, detections.scores, detections.names
"""

import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.v2 import functional as F

from viadet.detection.decoding import MAX_DETECTIONS
from viadet.detection.detections import Detections
from viadet.detection.settings import DetectSettings, read_settings
from viadet.detection.sized_network import SizedNetwork, inputs_at_once
from viadet.detection.views import SIDE_STEP_PX, InputView, merge_views, scaled_wh, views_of
from viadet.images.decoding import upright_rgb
from viadet.images.letterbox import InputImage, letterbox_image, letterbox_of
from viadet.images.pixels import read_image
from viadet.network.build import NetworkSpec
from viadet.network.device import find_device
from viadet.network.weights import SPEC_NAME, WEIGHTS_NAME, load_network, read_spec
from viadet.project.errors import UserError
from viadet.project.params import SIDE_PX, ViewsParams

SCORE_THRESHOLD = 0.4  # of a model that was not evaluated
VIEWS = ViewsParams(scales=[1.0, 1.3333], flip=True, merge="wbf")  # likewise; around the size in training
BATCHES_AHEAD = 2  # decoded while the network works

ImageLike = str | PathLike[str] | Image.Image | np.ndarray
ByView = dict[InputView, Detections]  # what was detected in each view of one image


class PreparedImage(NamedTuple):
    """An image as the network needs it, light enough to come from another process."""

    size_wh: tuple[int, int]  # px of the upright image
    canvases: list[np.ndarray]  # uint8 [3, H, W], one for each view
    shown: np.ndarray | None  # uint8 [3, H, W], reduced to be drawn


class DetectedImage(NamedTuple):
    """An image and what was detected in it."""

    size_wh: tuple[int, int]  # px of the upright image
    by_view: ByView
    shown: np.ndarray | None = None  # uint8 [3, H, W], reduced to be drawn


class Detector:
    """A detector; `load_detector` makes one of a model folder."""

    def __init__(self, network: nn.Module, spec: NetworkSpec, settings: DetectSettings | None = None) -> None:
        """Take a network.

        Args:
            network: in eval mode, on the device where it shall run.
            spec: what it was built from.
            settings: how to detect; None: in plain images at the spec's size.
        """
        self.settings = settings or DetectSettings(spec.input_wh, SCORE_THRESHOLD, MAX_DETECTIONS, None)
        self.plain = InputView(self.settings.test_wh, mirrored=False)
        self.views = views_of(self.settings.test_wh, self.settings.views)
        self.plain_network = SizedNetwork(network, spec)
        self.device = self.plain_network.device
        self.categories = tuple(spec.categories)
        self.batch_size = inputs_at_once(spec.input_wh, self.device)  # images
        self._networks = {spec.input_wh: self.plain_network}

    @overload
    def __call__(self, images: ImageLike, threshold: float | None = ...) -> Detections: ...
    @overload
    def __call__(self, images: list[ImageLike], threshold: float | None = ...) -> list[Detections]: ...

    def __call__(
        self, images: ImageLike | list[ImageLike], threshold: float | None = None
    ) -> Detections | list[Detections]:
        """Detect objects.

        Args:
            images: path, Pillow image, uint8 array [H, W, 3] (RGB) or [H, W] (grey), or a list of these. Files and
                Pillow images are turned upright by their EXIF orientation first; arrays are taken as they are.
            threshold: least score; None: that of the evaluation, or 0.4.

        Returns:
            The detections of the image, or a list with those of each image.

        Raises:
            UserError: an image is missing, damaged, or of another type.
        """
        threshold = self.settings.score_threshold if threshold is None else threshold
        listed = images if isinstance(images, list) else [images]
        detections = [self.merge(by_view).above(threshold) for by_view in self.detect_all(listed)]
        return detections if isinstance(images, list) else detections[0]

    def merge(self, by_view: ByView) -> Detections:
        """Merge the detections of an image in `self.views`; without several views, give the plain ones."""
        if self.settings.views is None:
            return by_view[self.plain]
        found = [by_view[view] for view in self.views]
        return merge_views(found, self.settings.views.merge, self.settings.max_detections)

    def detect_all(self, images: Sequence[ImageLike], views: Sequence[InputView] | None = None) -> Iterator[ByView]:
        """Detect objects as `detect_ahead` does, decoding in threads; an image that can't be read ends it.

        Raises:
            UserError: an image is missing, damaged, or of another type.
        """
        # as many photographs as there are cores are in memory at once
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for result in self.detect_ahead(images, views or self.views, pool):
                if isinstance(result, UserError):
                    raise result
                yield result.by_view

    def detect_ahead(
        self, images: Sequence[ImageLike], views: Sequence[InputView], pool: Executor, shown_side: int | None = None
    ) -> Iterator["DetectedImage | UserError"]:
        """Detect objects in any number of images, in their order; an image that can't be read gives its error.

        Memory stays bounded: the pool decodes BATCHES_AHEAD batches while the network works, and of a photograph only
        what the network needs is kept.

        Args:
            images: as `__call__` takes them.
            views: in which to detect; each is shown to the network once.
            pool: of threads, or of processes if all images are paths.
            shown_side: px; each result has its image, too, reduced until its longer side is no longer. None: without.
        """
        batches = in_batches(len(images), self.batch_size)
        waiting: deque[list[Future[PreparedImage | UserError]]] = deque()
        fill_rgb = self.plain_network.spec.fill_rgb
        for number in range(len(batches) + BATCHES_AHEAD):
            if number < len(batches):
                batch = images[batches[number]]
                task = (prepare_image, list(views), fill_rgb, shown_side)
                waiting.append([pool.submit(*task, image) for image in batch])
            if number >= BATCHES_AHEAD:
                prepared = [future.result() for future in waiting.popleft()]
                found = iter(self.detect([image for image in prepared if isinstance(image, PreparedImage)], views))
                for image in prepared:
                    if isinstance(image, UserError):
                        yield image
                    else:
                        yield DetectedImage(image.size_wh, next(found), image.shown)

    def detect(self, batch: list[PreparedImage], views: Sequence[InputView]) -> list[ByView]:
        """Detect objects in a batch that was prepared for these views."""
        detections: list[ByView] = [{} for _ in batch]
        for number, view in enumerate(views):
            network = self._network_for(view.input_wh)
            inputs = [
                InputImage(torch.from_numpy(image.canvases[number]), letterbox_of(*image.size_wh, view.input_wh))
                for image in batch
            ]
            found = []
            for rows in in_batches(len(inputs), inputs_at_once(view.input_wh, self.device)):
                found += network.detect(inputs[rows], self.settings.max_detections, view.mirrored)
            for by_view, image_detections in zip(detections, found, strict=True):
                by_view[view] = image_detections
        return detections

    def _network_for(self, input_wh: tuple[int, int]) -> SizedNetwork:
        if input_wh not in self._networks:
            self._networks[input_wh] = self.plain_network.resized(input_wh)
        return self._networks[input_wh]


def in_batches(count: int, batch_size: int) -> list[slice]:
    """Divide a list of so many items into batches of nearly the same size.

    What is left over would often be a single image, for which a CPU computes in another order than for several.
    """
    batches = math.ceil(count / batch_size)
    return [slice(number * count // batches, (number + 1) * count // batches) for number in range(batches)]


def load_detector(
    folder: str | PathLike[str], device: str | torch.device = "auto", size: int | None = None, views: bool = False
) -> Detector:
    """Load a trained detector; `viadet.load` is the same.

    Args:
        folder: what training and evaluation wrote: model.safetensors, model.json, and detect.json, if it was evaluated.
        device: where the network runs: "auto" (a GPU if there is one, else the CPU), "cpu", "cuda", "mps", or a torch
            device.
        size: px of the longer side of the network's input; each side is rounded to a multiple of 32. None: as in the
            evaluation, or without it as in training.
        views: test-time augmentation: detect at several scales, plain and mirrored, and merge, as in the evaluation.

    Raises:
        UserError: the folder is not a model folder or of another version, the device is not there, or the size is bad.
    """
    folder = Path(folder)
    missing = [name for name in (SPEC_NAME, WEIGHTS_NAME) if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} is not a model folder: {missing[0]} is missing; name the folder that training wrote")
    device = find_device(str(device))
    settings = read_settings(folder)
    settings = settings or DetectSettings(read_spec(folder).input_wh, SCORE_THRESHOLD, MAX_DETECTIONS, VIEWS)
    if size is not None:
        settings = settings._replace(test_wh=wh_of_longer_side(settings.test_wh, size))
    return Detector(
        *load_network(folder, device, settings.test_wh),
        settings._replace(views=(settings.views or VIEWS) if views else None),
    )


def wh_of_longer_side(input_wh: tuple[int, int], longer_side: int) -> tuple[int, int]:
    """Scale the size of an input until its longer side has as many px; sides are multiples of 32 px.

    Raises:
        UserError: the side is too short or too long.
    """
    low, high = SIDE_PX
    if not low <= longer_side <= high or longer_side % SIDE_STEP_PX:
        raise UserError(f"the input's size is {longer_side}; use a multiple of {SIDE_STEP_PX} from {low} to {high} px")
    return scaled_wh(input_wh, longer_side / max(input_wh))


def detect_plain(detector: Detector, coco: dict, image_dir: Path) -> dict[int, Detections]:
    """Detect objects in all images of a COCO data set, in plain images only; arguments as for `detect_data_set`."""
    paths = [image_dir / image["file_name"] for image in coco["images"]]
    found = detector.detect_all(paths, [detector.plain])
    return {image["id"]: by_view[detector.plain] for image, by_view in zip(coco["images"], found, strict=True)}


def detect_data_set(
    detector: Detector, coco: dict, image_dir: Path
) -> tuple[dict[int, Detections], dict[int, Detections]]:
    """Detect objects in all images of a COCO data set, each decoded once and each distinct view detected in once.

    Args:
        detector: that detects.
        coco: the data set.
        image_dir: folder that its file names are relative to.

    Returns:
        By image id the plain detections, and those of the merged views; if the detector merges none, both are the same.
    """
    paths = [image_dir / image["file_name"] for image in coco["images"]]
    views = list(dict.fromkeys([detector.plain, *detector.views]))
    plain, merged = {}, {}
    for image, by_view in zip(coco["images"], detector.detect_all(paths, views), strict=True):
        plain[image["id"]] = by_view[detector.plain]
        merged[image["id"]] = detector.merge(by_view)
    return plain, merged


def prepare_image(
    views: Sequence[InputView], fill_rgb: tuple[int, int, int], shown_side: int | None, image: ImageLike
) -> PreparedImage | UserError:
    """Read an image and letterbox it for each view, padded by a colour; one that can't be read gives its error.

    `shown_side` is that of `Detector.detect_ahead`.
    """
    try:
        photograph = image_tensor(image)
    except UserError as error:
        return error
    canvases = []
    for view in views:
        turned = photograph.flip(2) if view.mirrored else photograph
        canvases.append(letterbox_image(turned, view.input_wh, fill_rgb).canvas.numpy())
    _, height, width = photograph.shape
    shown = None if shown_side is None else _reduced(photograph, shown_side).numpy()
    return PreparedImage((width, height), canvases, shown)


def _reduced(photograph: torch.Tensor, max_side: int) -> torch.Tensor:
    """Reduce a photograph, uint8 [3, H, W], in proportion, until no side is longer."""
    _, height, width = photograph.shape
    if max(height, width) <= max_side:
        return photograph
    box = letterbox_of(width, height, (max_side, max_side))
    return F.resize(photograph, [box.height, box.width], antialias=True)


def image_tensor(image: ImageLike) -> torch.Tensor:
    """Read an image in any of the forms that a detector takes, uint8 [3, H, W].

    Raises:
        UserError: it is missing, damaged, or of another type.
    """
    if isinstance(image, str | PathLike):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        try:
            image = np.array(upright_rgb(image))
        except (OSError, ValueError) as error:
            raise UserError(f"the Pillow image can't be read ({' '.join(str(error).split())})") from None
    if not isinstance(image, np.ndarray):
        raise UserError(f"{type(image).__name__} is not an image; use a path, a Pillow image, a numpy array or a list")
    is_rgb_or_grey = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype != np.uint8 or 0 in image.shape or not is_rgb_or_grey:
        raise UserError(f"the array is {image.dtype} {list(image.shape)}; use uint8 [height, width, 3] in RGB")
    rgb = np.broadcast_to(image[..., None], (*image.shape, 3)) if image.ndim == 2 else image
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
