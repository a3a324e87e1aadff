"""A detector: from image files, Pillow images or arrays to detections, in one view of each or in several.

import viadet

detector = viadet.load("data/model")  # or several folders, whose detections are fused
detections = detector("photograph.jpg")  # or a Pillow image, an array, a list of these
detections.boxes_xyxy, detections.scores, detections.names
"""

import math
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
from viadet.detection.settings import DetectSettings
from viadet.detection.sized_network import SizedNetwork, inputs_at_once
from viadet.detection.views import InputView, join_tiles, merge_views, sight_of, views_of
from viadet.images.decoding import upright_rgb
from viadet.images.letterbox import InputImage, letterbox_image, letterbox_of
from viadet.images.pixels import read_image
from viadet.images.tiles import tiles_of
from viadet.network.build import NetworkSpec
from viadet.network.device import usable_cores
from viadet.project.errors import UserError

SCORE_THRESHOLD = 0.4  # of a model that was not evaluated
BATCHES_AHEAD = 2  # decoded while the network works

ImageLike = str | PathLike[str] | Image.Image | np.ndarray
ByView = dict[InputView, Detections]  # what was detected in each view of one image


class Canvas(NamedTuple):
    """Inputs into which an image or its tiles are letterboxed; views of models that take the same ones share them."""

    input_wh: tuple[int, int]  # px
    mirrored: bool
    fill_rgb: tuple[int, int, int]  # colour beside the photograph
    tiles: int  # of each side of the image


class PreparedImage(NamedTuple):
    """An image as the networks need it, light enough to come from another process."""

    size_wh: tuple[int, int]  # px of the upright image
    canvases: dict[Canvas, np.ndarray]  # uint8 [tiles * tiles, 3, H, W]
    shown: np.ndarray | None  # uint8 [3, H, W], reduced to be drawn


class DetectedImage(NamedTuple):
    """An image and what was detected in it."""

    size_wh: tuple[int, int]  # px of the upright image
    by_view: ByView
    shown: np.ndarray | None = None  # uint8 [3, H, W], reduced to be drawn


class Detector:
    """A detector; `loading.load_detector` makes one of a model folder, or of several."""

    def __init__(
        self,
        network: nn.Module,
        spec: NetworkSpec,
        settings: DetectSettings | None = None,
        others: Sequence[tuple[nn.Module, NetworkSpec]] = (),
    ) -> None:
        """Take a network, or several.

        Args:
            network: in eval mode, on the device where it shall run.
            spec: what it was built from.
            settings: how to detect; None: in plain images at the spec's size.
            others: more networks with their specs, of the same categories and on the same device, whose detections are
                fused with the first one's. Each detects at its spec's size, and otherwise as the settings say.
        """
        self.settings = settings or DetectSettings(spec.input_wh, SCORE_THRESHOLD, MAX_DETECTIONS, None)
        self.models = [SizedNetwork(*model) for model in ((network, spec), *others)]
        sizes = [self.settings.test_wh, *(other_spec.input_wh for _, other_spec in others)]
        self.plain = [InputView(input_wh, mirrored=False, model=number) for number, input_wh in enumerate(sizes)]
        self.views = [
            view for number, input_wh in enumerate(sizes) for view in views_of(input_wh, self.settings.views, number)
        ]
        self.device = self.models[0].device
        self.categories = tuple(spec.categories)
        at_once = min(inputs_at_once(model.spec.input_wh, self.device) for model in self.models)
        self.batch_size = max(1, at_once // max(view.tiles for view in self.views) ** 2)  # images
        self._networks = {(number, model.spec.input_wh): model for number, model in enumerate(self.models)}

    @property
    def all_views(self) -> list[InputView]:
        """The plain views and those that are merged, each once: enough for `merge_plain` and for `merge`."""
        return list(dict.fromkeys([*self.plain, *self.views]))

    @property
    def plain_network(self) -> SizedNetwork:
        """The network of a detector with one model, at the size of plain images.

        Raises:
            UserError: it has several, and who asks for its network is not made for that.
        """
        if len(self.models) > 1:
            raise UserError(f"only one model can be exported or explained, not {len(self.models)}; load one folder")
        return self.models[0]

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
        detections = [self.merge(image).above(threshold) for image in self.detect_all(listed)]
        return detections if isinstance(images, list) else detections[0]

    def merge(self, image: DetectedImage) -> Detections:
        """Merge the detections of an image in `self.views`; without several views, give the plain ones."""
        if self.settings.views is None:
            return self.merge_plain(image)
        found = [image.by_view[view] for view in self.views]
        merge = self.settings.views.merge if len(self.models) == 1 else "wbf"
        return merge_views(found, merge, self.settings.max_detections, sight_of(image.size_wh, self.views))

    def merge_plain(self, image: DetectedImage) -> Detections:
        """Fuse what the models detected in the plain image; give the detections of a single one as they are."""
        found = [image.by_view[view] for view in self.plain]
        return found[0] if len(found) == 1 else merge_views(found, "wbf", self.settings.max_detections)

    def detect_all(
        self, images: Sequence[ImageLike], views: Sequence[InputView] | None = None
    ) -> Iterator[DetectedImage]:
        """Detect objects as `detect_ahead` does, decoding in threads; an image that can't be read ends it.

        Raises:
            UserError: an image is missing, damaged, or of another type.
        """
        # as many photographs as there are cores are in memory at once
        with ThreadPoolExecutor(usable_cores()) as pool:
            for result in self.detect_ahead(images, views or self.views, pool):
                if isinstance(result, UserError):
                    raise result
                yield result

    def detect_ahead(
        self, images: Sequence[ImageLike], views: Sequence[InputView], pool: Executor, shown_side: int | None = None
    ) -> Iterator["DetectedImage | UserError"]:
        """Detect objects in any number of images, in their order; an image that can't be read gives its error.

        Memory stays bounded: the pool decodes BATCHES_AHEAD batches while the network works, and of a photograph only
        what the networks need is kept.

        Args:
            images: as `__call__` takes them.
            views: in which to detect; each is shown to its network once.
            pool: of threads, or of processes if all images are paths.
            shown_side: px; each result has its image, too, reduced until its longer side is no longer. None: without.
        """
        batches = in_batches(len(images), self.batch_size)
        waiting: deque[list[Future[PreparedImage | UserError]]] = deque()
        canvases = list(dict.fromkeys(map(self._canvas_of, views)))
        for number in range(len(batches) + BATCHES_AHEAD):
            if number < len(batches):
                batch = images[batches[number]]
                task = (prepare_image, canvases, shown_side)
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
        for view in views:
            network, canvases = self._network_for(view), self._canvas_of(view)
            inputs = [
                InputImage(torch.from_numpy(canvas), letterbox_of(*tile.size_wh, view.input_wh))
                for image in batch
                for tile, canvas in zip(tiles_of(image.size_wh, view.tiles), image.canvases[canvases], strict=True)
            ]
            found = []
            for rows in in_batches(len(inputs), inputs_at_once(view.input_wh, self.device)):
                found += network.detect(inputs[rows], self.settings.max_detections, view.mirrored)
            tiles = view.tiles**2
            for number, (image, by_view) in enumerate(zip(batch, detections, strict=True)):
                of_tiles = found[number * tiles : (number + 1) * tiles]
                by_view[view] = of_tiles[0] if tiles == 1 else join_tiles(of_tiles, image.size_wh, view)
        return detections

    def _canvas_of(self, view: InputView) -> Canvas:
        return Canvas(view.input_wh, view.mirrored, self.models[view.model].spec.fill_rgb, view.tiles)

    def _network_for(self, view: InputView) -> SizedNetwork:
        key = view.model, view.input_wh
        if key not in self._networks:
            self._networks[key] = self.models[view.model].resized(view.input_wh)
        return self._networks[key]


def in_batches(count: int, batch_size: int) -> list[slice]:
    """Divide a list of so many items into batches of nearly the same size.

    What is left over would often be a single image, for which a CPU computes in another order than for several.
    """
    batches = math.ceil(count / batch_size)
    return [slice(number * count // batches, (number + 1) * count // batches) for number in range(batches)]


def detect_plain(detector: Detector, coco: dict, image_dir: Path) -> dict[int, Detections]:
    """Detect objects in all images of a COCO data set, in plain images only; arguments as for `detect_data_set`."""
    paths = [image_dir / image["file_name"] for image in coco["images"]]
    found = detector.detect_all(paths, detector.plain)
    return {image["id"]: detector.merge_plain(detected) for image, detected in zip(coco["images"], found, strict=True)}


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
    plain, merged = {}, {}
    for image, detected in zip(coco["images"], detector.detect_all(paths, detector.all_views), strict=True):
        plain[image["id"]] = detector.merge_plain(detected)
        merged[image["id"]] = detector.merge(detected)
    return plain, merged


def prepare_image(canvases: Sequence[Canvas], shown_side: int | None, image: ImageLike) -> PreparedImage | UserError:
    """Read an image once and letterbox it, or its tiles, into each canvas; one that can't be read gives its error.

    `shown_side` is that of `Detector.detect_ahead`.
    """
    try:
        photograph = image_tensor(image)
    except UserError as error:
        return error
    _, height, width = photograph.shape
    filled = {}
    for canvas in canvases:
        inputs = []
        for tile in tiles_of((width, height), canvas.tiles):
            part = photograph[:, tile.top : tile.bottom, tile.left : tile.right]
            turned = part.flip(2) if canvas.mirrored else part
            inputs.append(letterbox_image(turned, canvas.input_wh, canvas.fill_rgb).canvas.numpy())
        filled[canvas] = np.stack(inputs)
    shown = None if shown_side is None else _reduced(photograph, shown_side).numpy()
    return PreparedImage((width, height), filled, shown)


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
