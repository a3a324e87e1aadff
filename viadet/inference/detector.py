"""A trained detector, loaded from its model folder alone: from image files, Pillow images or arrays to boxes.

    import viadet

    detector = viadet.load("data/model")
    detections = detector("photograph.jpg")  # or a Pillow image, an array, a list of these
    detections.boxes_xyxy, detections.scores, detections.names

In supervision: `sv.Detections(xyxy=d.boxes_xyxy, confidence=d.scores, class_id=d.labels)`, with `d = detector(image)`.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
import torch
from PIL import Image

from viadet.annotations.coco import by_image
from viadet.evaluation.augmented_detection import SIDE_STEP_PX, View, merge_views, view_sizes_wh
from viadet.evaluation.detect_settings import DetectSettings, read_settings
from viadet.images.decoding import upright_rgb
from viadet.images.letterbox import InputImage, letterbox_image, letterbox_of
from viadet.images.pixels import read_image
from viadet.network.boxes import MAX_DETECTIONS, boxes_xyxy_of
from viadet.network.detect import ScaledNetwork, batch_results, detect_inputs, inputs_at_once, load_scaled
from viadet.network.device import find_device
from viadet.network.weights import SPEC_NAME, WEIGHTS_NAME, read_spec
from viadet.project.errors import UserError
from viadet.project.params import SIDE_PX, ViewsParams

SCORE_THRESHOLD = 0.4  # of a model that was not evaluated
VIEWS = ViewsParams(scales=[1.0, 1.3333], flip=True, merge="wbf", sides=None)  # likewise; around the size in training
MAX_VIEWS = 8  # of the images of a batch together: that many inputs wait in memory

ImageLike = str | PathLike[str] | Image.Image | np.ndarray


class ImageDetections(NamedTuple):
    """Detections of one image, best first."""

    boxes_xyxy: np.ndarray  # float32 [N, 4], px of the upright image
    scores: np.ndarray  # float32 [N], 0..1
    labels: np.ndarray  # int64 [N], from 1: the first of the detector's `categories`
    names: list[str]  # of the labels


class InputView(NamedTuple):
    """What the network is shown of an image."""

    input_wh: tuple[int, int]  # px, into which the image is letterboxed
    mirrored: bool


class PreparedImage(NamedTuple):
    """An image as the network needs it, light enough to come from another process."""

    width: int  # px of the upright image
    height: int
    canvases: list[np.ndarray]  # uint8 [3, H, W], one for each view


class Detector:
    """A trained detector; `load_detector` makes one."""

    def __init__(self, networks: list[ScaledNetwork], settings: DetectSettings, device: torch.device) -> None:
        """Put the parts together.

        Args:
            networks: one for each scale of the image.
            settings: how to detect; without views, there is one network.
            device: the networks'.
        """
        self.networks = networks
        self.settings = settings
        self.device = device
        self.categories = networks[0].spec.categories
        self.fill_rgb = networks[0].spec.fill_rgb
        flips = (False, True) if settings.views and settings.views.flip else (False,)
        self.views = [InputView(scaled.spec.input_wh, mirrored) for scaled in networks for mirrored in flips]
        largest_wh = max((view.input_wh for view in self.views), key=math.prod)
        self.batch_size = max(1, min(inputs_at_once(largest_wh, device), MAX_VIEWS // len(self.views)))  # images

    @overload
    def __call__(self, images: ImageLike, threshold: float | None = ...) -> ImageDetections: ...
    @overload
    def __call__(self, images: list[ImageLike], threshold: float | None = ...) -> list[ImageDetections]: ...

    def __call__(
        self, images: ImageLike | list[ImageLike], threshold: float | None = None
    ) -> ImageDetections | list[ImageDetections]:
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
        if isinstance(images, list):
            return list(self._detect_all(images, threshold))
        (detections,) = self._detect_all([images], threshold)
        return detections

    def _detect_all(self, images: list[ImageLike], threshold: float) -> Iterator[ImageDetections]:
        def prepared(image: ImageLike) -> PreparedImage:
            return prepare_image(image_tensor(image), self.views, self.fill_rgb)

        with ThreadPoolExecutor() as pool:
            for start in range(0, len(images), self.batch_size):
                for results in self.detect(list(pool.map(prepared, images[start : start + self.batch_size]))):
                    kept = [result for result in results if result["score"] >= threshold]
                    labels = [result["category_id"] for result in kept]
                    yield ImageDetections(
                        boxes_xyxy_of(kept).numpy(),
                        np.array([result["score"] for result in kept], np.float32),
                        np.array(labels, np.int64),
                        [self.categories[label - 1] for label in labels],
                    )

    def detect(self, batch: list[PreparedImage]) -> list[list[dict]]:
        """Detect objects in a batch that was prepared for `self.views`.

        Returns:
            For each image its results as in COCO's format, best first, with its index in the batch as `image_id`.
        """
        params, limit = self.settings.views, self.settings.max_detections
        views = []
        for number, (input_wh, mirrored) in enumerate(self.views):
            scale = number * len(self.networks) // len(self.views)
            inputs = [
                InputImage(torch.from_numpy(image.canvases[number]), letterbox_of(image.width, image.height, input_wh))
                for image in batch
            ]
            detections = detect_inputs(self.networks[scale], inputs, self.device, limit, mirrored)
            results = batch_results(detections, inputs, list(range(len(batch))))
            # rounded to 0.01 px, boxes in an image of very few px can be empty
            results = [result for result in results if min(result["bbox"][2:]) > 0]
            low, high = params.sides[scale] if params and params.sides else (0.0, math.inf)
            views.append(View(input_wh, (low, high), results))
        coco = {"images": [{"id": index, "width": i.width, "height": i.height} for index, i in enumerate(batch)]}
        merged = merge_views(coco, views, params.merge, limit) if params else views[0].results
        groups = by_image(merged)
        return [groups[index] for index in range(len(batch))]


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
    settings = settings._replace(
        test_wh=scaled_wh(settings.test_wh, size), views=(settings.views or VIEWS) if views else None
    )
    sizes_wh = view_sizes_wh(settings.test_wh, settings.views.scales if settings.views else [1.0])
    networks = [load_scaled(folder, device, size_wh) for size_wh in sizes_wh]
    return Detector(networks, settings, device)


def scaled_wh(input_wh: tuple[int, int], longer_side: int | None) -> tuple[int, int]:
    """Scale the size of an input until its longer side has as many px; sides are multiples of 32 px.

    Raises:
        UserError: the side is too short or too long.
    """
    if longer_side is None:
        return input_wh
    low, high = SIDE_PX
    if not low <= longer_side <= high or longer_side % SIDE_STEP_PX:
        raise UserError(f"the input's size is {longer_side}; use a multiple of {SIDE_STEP_PX} from {low} to {high} px")
    (size_wh,) = view_sizes_wh(input_wh, [longer_side / max(input_wh)])
    return size_wh


def prepare_image(image: torch.Tensor, views: list[InputView], fill_rgb: tuple[int, int, int]) -> PreparedImage:
    """Letterbox an upright image, uint8 [3, H, W], for each view; its padding has the colour `fill_rgb`."""
    _, height, width = image.shape
    inputs = [letterbox_image(image.flip(2) if view.mirrored else image, view.input_wh, fill_rgb) for view in views]
    return PreparedImage(width, height, [input_image.canvas.numpy() for input_image in inputs])


def image_tensor(image: ImageLike) -> torch.Tensor:
    """Read an image in any of the forms that a detector takes, uint8 [3, H, W].

    Raises:
        UserError: it is missing, damaged, or of another type.
    """
    if isinstance(image, str | PathLike):
        return read_existing_image(Path(image))
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


def read_existing_image(path: Path) -> torch.Tensor:
    """Read an image file upright, uint8 [3, H, W].

    Raises:
        UserError: it is missing or damaged.
    """
    if not path.exists():  # read_image speaks of annotations then
        raise UserError(f"{path}: no such file; check the name")
    return read_image(path)
