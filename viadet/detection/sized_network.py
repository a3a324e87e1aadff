"""A network for inputs of one size: photographs in, detections out."""

import torch
from torch import nn

from viadet.detection.decoding import MAX_DETECTIONS, decode, decode_rows, detections_of
from viadet.detection.detections import Detections
from viadet.images.letterbox import InputImage, Letterbox, letterbox_image
from viadet.network.anchors import anchors_of, flat_outputs
from viadet.network.build import NetworkSpec, build_network, prepare_images

MAX_INPUTS = 8  # that the network gets at once
MAX_INPUT_PX = MAX_INPUTS * 768**2  # of these together
MAX_CPU_INPUT_PX = 2 * 1152**2  # likewise on a CPU, where more are not faster; two of 1152 px take 1 GB


def inputs_at_once(input_wh: tuple[int, int], device: torch.device) -> int:
    """Say how many inputs of `input_wh` px the network gets at once."""
    width, height = input_wh
    max_px = MAX_CPU_INPUT_PX if device.type == "cpu" else MAX_INPUT_PX
    return max(1, min(MAX_INPUTS, max_px // (width * height)))


class SizedNetwork:
    """A network for inputs of one size, with its anchors."""

    def __init__(self, network: nn.Module, spec: NetworkSpec) -> None:
        """Take a network in eval mode, and what it was built from."""
        self.network, self.spec = network, spec
        self.device = next(network.parameters()).device
        self.anchors_yxyx, self.levels = anchors_of(network, self.device)

    def resized(self, input_wh: tuple[int, int]) -> "SizedNetwork":
        """Make a network with the same weights, which both share, for inputs of another size."""
        spec = self.spec._replace(input_wh=input_wh)
        with torch.random.fork_rng(devices=[]):  # its own weights are not used
            network = build_network(spec)
        network.load_state_dict(self.network.state_dict(), assign=True)
        return SizedNetwork(network.eval(), spec)

    def letterbox(self, image: torch.Tensor) -> InputImage:
        """Put a photograph, uint8 [3, H, W], into the network's input."""
        return letterbox_image(image, self.spec.input_wh, self.spec.fill_rgb)

    def normalise(self, canvases: torch.Tensor) -> torch.Tensor:
        """Make the network's input, float32 [B, 3, H, W] on its device, of canvases, uint8 [B, 3, H, W]."""
        return prepare_images(canvases, self.spec, self.device)

    def decode(
        self,
        logits: torch.Tensor,
        codes: torch.Tensor,
        letterbox: Letterbox,
        max_detections: int = MAX_DETECTIONS,
        mirrored: bool = False,
    ) -> Detections:
        """Decode one image's outputs, logits [A, K] and codes [A, 4]; arguments as for `decoding.decode`."""
        categories = tuple(self.spec.categories)
        return decode(logits, codes, self.anchors_yxyx, self.levels, letterbox, max_detections, mirrored, categories)

    def detect(
        self, inputs: list[InputImage], max_detections: int = MAX_DETECTIONS, mirrored: bool = False
    ) -> list[Detections]:
        """Detect objects in a batch of letterboxed photographs, in float32; arguments as for `decoding.decode`."""
        batch = torch.stack([input_image.canvas for input_image in inputs])
        with torch.inference_mode():
            logits, codes = flat_outputs(*self.network(self.normalise(batch)))
        anchors = self.anchors_yxyx, self.levels
        decoded = [
            decode_rows(image_logits, image_codes, *anchors, input_image.letterbox, max_detections, mirrored)
            for input_image, image_logits, image_codes in zip(inputs, logits, codes, strict=True)
        ]
        # of the whole batch at once: a GPU ends what it does before it gives a value
        by_image = torch.cat(decoded).cpu().split([len(rows) for rows in decoded])
        categories = tuple(self.spec.categories)
        return [
            detections_of(rows, input_image.letterbox, categories)
            for input_image, rows in zip(inputs, by_image, strict=True)
        ]
