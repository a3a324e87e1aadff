"""Writing a detector as one ONNX file: letterboxing, normalising, network, decoding and NMS."""

import json
import logging
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import ModelProto, compose, inliner, numpy_helper
from onnxscript import OnnxFunction, optimizer

from viadet.inference.candidates import CandidateNetwork
from viadet.inference.export_check import ExportedDetector
from viadet.inference.export_metadata import export_metadata
from viadet.inference.onnx_functions import letterbox, select_detections
from viadet.network.boxes import MAX_DETECTIONS, MIN_SCORE, NMS_IOU, VOTE_IOU
from viadet.network.build import NetworkSpec
from viadet.network.detect import ScaledNetwork

OPSET, IR_VERSION = 20, 10  # of 2023 and 2024; onnxruntime 1.18 and newer read them
CANDIDATES = ["candidates_xyxy", "candidate_scores", "candidate_labels"]
POWERS_OF_TWO = 2.0 ** np.arange(23)  # torch's weights have at most 22 bits


def write_onnx(scaled: ScaledNetwork, threshold: float, path: Path) -> None:
    """Write an ONNX file for inputs of the network's size.

    Args:
        scaled: the network on the CPU, in eval mode.
        threshold: least score of a detection.
        path: of the file.
    """
    for name in ("torch.onnx", "onnxscript"):  # they report their progress, and what they leave as it is
        logging.getLogger(name).setLevel(logging.ERROR)
    spec = scaled.spec
    model = _joined(letterbox_graph(spec), _candidate_graph(CandidateNetwork(scaled.network, spec).eval()), ["canvas"])
    model = _joined(model, selection_graph(spec, threshold), [*CANDIDATES, "fitted_hw", "image_hw"])
    model = optimizer.optimize(model)
    metadata = export_metadata(spec, threshold)
    model.producer_name, model.producer_version = "viadet", metadata["viadet_version"]
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def open_onnx(path: Path) -> ExportedDetector:
    """Load an exported file in onnxruntime on the CPU, to be called with arrays."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})


def letterbox_graph(spec: NetworkSpec) -> ModelProto:
    """Make the graph from images, uint8 [B, H, W, 3], to the network's canvas."""
    return _with_constants(
        letterbox,
        input_hw=np.array(spec.input_wh[::-1]),
        fill=np.array(spec.fill_rgb, np.uint8).reshape(1, 3, 1, 1),
        powers_of_two=POWERS_OF_TWO,
    )


def selection_graph(spec: NetworkSpec, threshold: float) -> ModelProto:
    """Make the graph from candidates to detections of at least the threshold."""
    return _with_constants(
        select_detections,
        classes=np.arange(1, len(spec.categories) + 1).reshape(1, -1, 1),
        limits=np.array([MIN_SCORE, threshold, NMS_IOU, VOTE_IOU], np.float32),
        max_detections=np.array([MAX_DETECTIONS]),
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
