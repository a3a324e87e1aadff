"""Writing a detector as one ONNX file: letterboxing, normalising, network, decoding and NMS."""

import json
import logging
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import ModelProto, compose, inliner, numpy_helper
from onnxscript import OnnxFunction, optimizer
from torch import nn

from viadet.detection.decoding import MIN_SCORE, NMS_IOU, VOTE_IOU, candidates_for
from viadet.detection.detector import Detector
from viadet.detection.sized_network import SizedNetwork
from viadet.inference.export_check import ExportedDetector
from viadet.inference.onnx_functions import letterbox, select_detections
from viadet.network.anchors import flat_outputs
from viadet.network.build import NetworkSpec
from viadet.network.effdet_parts import decode_box_outputs

OPSET, IR_VERSION = 20, 10  # of 2023 and 2024; onnxruntime 1.18 and newer read them
CANDIDATES = ["candidates_xyxy", "candidate_scores", "candidate_labels"]
POWERS_OF_TWO = 2.0 ** np.arange(23)  # torch's weights have at most 22 bits


def write_onnx(detector: Detector, threshold: float, path: Path) -> None:
    """Write an ONNX file for inputs of the detector's size; the detector is on the CPU, without views.

    The file describes itself; label 1 is the first of its categories.
    """
    for name in ("torch.onnx", "onnxscript"):  # they report their progress, and what they leave as it is
        logging.getLogger(name).setLevel(logging.ERROR)
    network, limit = detector.plain_network, detector.settings.max_detections
    spec = network.spec
    candidates = CandidateNetwork(network, candidates_for(limit)).eval()
    model = _joined(letterbox_graph(spec), _candidate_graph(candidates), ["canvas"])
    model = _joined(model, selection_graph(spec, threshold, limit), [*CANDIDATES, "fitted_hw", "image_hw"])
    model = optimizer.optimize(model)
    metadata = {
        "categories": spec.categories,
        "input_wh": list(spec.input_wh),
        "score_threshold": threshold,
        "max_detections": limit,
        "nms_iou": NMS_IOU,
        "vote_iou": VOTE_IOU,
        "network": spec.name,
        "viadet_version": version("via-efficientdet"),
    }
    model.producer_name, model.producer_version = "viadet", metadata["viadet_version"]
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def open_onnx(path: Path, threshold: float | None = None) -> ExportedDetector:
    """Load an exported file in onnxruntime on the CPU, to be called with arrays; `threshold` replaces its own one."""
    model = onnx.load(path)
    if threshold is not None:
        [limits] = [value for value in model.graph.initializer if value.name.endswith("/limits")]
        values = numpy_helper.to_array(limits).copy()
        values[1] = threshold
        limits.CopyFrom(numpy_helper.from_array(values, limits.name))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})


class CandidateNetwork(nn.Module):
    """Normalising, network, and decoding of the best candidates for a batch of any size.

    It does what `SizedNetwork.normalise` and `decode` do for one image after the other, without Python code that
    depends on the data.
    """

    def __init__(self, sized: SizedNetwork, candidates: int) -> None:
        """Take a network on the CPU, and how many candidates an image has at most."""
        super().__init__()
        spec = sized.spec
        self.network = sized.network
        self.num_classes = len(spec.categories)
        self.candidates = min(candidates, len(sized.anchors_yxyx) * self.num_classes)
        self.register_buffer("anchors_yxyx", sized.anchors_yxyx)
        self.register_buffer("mean", 255 * torch.tensor(spec.mean).view(3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(spec.std).view(3, 1, 1))

    def forward(self, canvas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Detect candidates in letterboxed images, uint8 [B, 3, H, W].

        Returns:
            Boxes, float32 [B, N, 4] as xyxy px of the input, not yet clipped; scores, float32 [B, N], best first;
            labels, int64 [B, N], from 1.
        """
        logits, codes = flat_outputs(*self.network((canvas.float() - self.mean) / self.std))
        best, places = logits.flatten(1).topk(self.candidates)
        anchors = places // self.num_classes
        best_codes = codes.gather(1, anchors.unsqueeze(2).expand(-1, -1, 4))
        boxes_xyxy = decode_box_outputs(
            best_codes.flatten(0, 1), self.anchors_yxyx[anchors.flatten()], output_xyxy=True
        ).unflatten(0, places.shape)
        return boxes_xyxy, best.sigmoid(), places % self.num_classes + 1


def letterbox_graph(spec: NetworkSpec) -> ModelProto:
    """Make the graph from images, uint8 [B, H, W, 3], to the network's canvas."""
    return _with_constants(
        letterbox,
        input_hw=np.array(spec.input_wh[::-1]),
        fill=np.array(spec.fill_rgb, np.uint8).reshape(1, 3, 1, 1),
        powers_of_two=POWERS_OF_TWO,
    )


def selection_graph(spec: NetworkSpec, threshold: float, max_detections: int) -> ModelProto:
    """Make the graph from candidates to the best detections of at least the threshold."""
    return _with_constants(
        select_detections,
        classes=np.arange(1, len(spec.categories) + 1).reshape(1, -1, 1),
        limits=np.array([MIN_SCORE, threshold, NMS_IOU, VOTE_IOU], np.float32),
        max_detections=np.array([max_detections]),
    )


def _candidate_graph(network: CandidateNetwork) -> ModelProto:
    """Convert the torch part; the size of the batch stays free."""
    height, width = network.network.config.image_size
    program = torch.onnx.export(
        network,
        (torch.zeros(2, 3, height, width, dtype=torch.uint8),),
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        input_names=["canvas"],
        output_names=CANDIDATES,
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    return program.model_proto


def _with_constants(function: OnnxFunction, **constants: np.ndarray) -> ModelProto:
    """Make a graph from an onnxscript function, with constants instead of some of its inputs."""
    model = inliner.inline_local_functions(function.to_model_proto(ir_version=IR_VERSION))
    for node_input in [value for value in model.graph.input if value.name in constants]:
        model.graph.input.remove(node_input)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items())
    return model


def _joined(first: ModelProto, second: ModelProto, names: list[str]) -> ModelProto:
    """Feed outputs of one graph to the inputs of the same names of the next; inner names get a prefix."""
    second = compose.add_prefix(second, f"{second.graph.name}/", rename_inputs=False, rename_outputs=False)
    return compose.merge_models(first, second, io_map=[(name, name) for name in names])
