"""Compare the speed of an exported ONNX file in onnxruntime with PyTorch's, from decoded image to detections.

Both detect in the same images in turn, so that what else the machine does slows both alike.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from viadet.detection.detector import SCORE_THRESHOLD
from viadet.detection.loading import load_detector
from viadet.images.pixels import read_image
from viadet.inference.onnx_export import write_onnx
from viadet.network.device import keep_freed_memory


def main() -> None:
    """Time both and print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--model", type=Path, default=Path("data/model"))
    parser.add_argument("--size", type=int, help="longer side of the input, px; default: as in training")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="over all images; one more goes before, untimed")
    arguments = parser.parse_args()

    keep_freed_memory()  # as `viadet predict` does
    torch.set_num_threads(arguments.threads)
    detector = load_detector(arguments.model, "cpu", arguments.size)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "detector.onnx")
        write_onnx(detector, SCORE_THRESHOLD, path)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    images = [read_image(path) for path in arguments.images]
    arrays = [np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in images]
    seconds: dict[str, list[float]] = {"torch": [], "onnxruntime": []}
    for round_number in range(1 + arguments.rounds):
        for array in arrays:
            start = time.perf_counter()
            detector(array, SCORE_THRESHOLD)
            between = time.perf_counter()
            session.run(None, {"images": array[None]})
            if round_number:
                seconds["torch"].append(between - start)
                seconds["onnxruntime"].append(time.perf_counter() - between)
    torch_median, onnx_median = (statistics.median(values) for values in seconds.values())
    spec = detector.plain_network.spec
    width, height = spec.input_wh
    print(f"{spec.name}, {width} x {height} px, {arguments.threads} threads, {len(seconds['torch'])} detections")
    print(f"torch {torch_median:.3f} s, onnxruntime {onnx_median:.3f} s an image (medians)")
    print(f"onnxruntime takes {onnx_median / torch_median:.2f} of PyTorch's time")


if __name__ == "__main__":
    main()
