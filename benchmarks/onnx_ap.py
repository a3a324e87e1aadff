"""Compare the AP of an exported ONNX file with PyTorch's on the validation images, after `dvc repro evaluate`."""

import argparse
import tempfile
from pathlib import Path

from viadet.detection.decoding import MIN_SCORE
from viadet.detection.detections import Detections, read_detections
from viadet.detection.loading import load_detector
from viadet.evaluation.coco_metrics import evaluate_coco
from viadet.images.pixels import read_image
from viadet.inference.export_check import ExportedDetector
from viadet.inference.onnx_export import open_onnx, write_onnx
from viadet.project.files import read_json
from viadet.project.metric_names import AP, AP_50, AP_75

COCO_PATH, DETECTIONS_PATH, IMAGE_DIR = Path("data/coco/val.json"), Path("data/detections.json"), Path("data/raw")
FIGURES = {"bbox mAP": AP, "AP50": AP_50, "AP75": AP_75}


def detect_with(exported: ExportedDetector, coco: dict) -> dict[int, Detections]:
    """Detect in all images of a COCO data set, by image id."""
    detections = {}
    for entry in coco["images"]:
        image = read_image(IMAGE_DIR / entry["file_name"]).permute(1, 2, 0).contiguous().numpy()
        ((boxes_xyxy,), (scores,), (labels,)) = exported(image[None])
        detections[entry["id"]] = Detections(boxes_xyxy, scores, labels)
    return detections


def main() -> None:
    """Export the model and print the figures of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("data/model"))
    parser.add_argument("--size", type=int, required=True, help="longer side of the input, px: the recipe's test_size")
    arguments = parser.parse_args()

    detector = load_detector(arguments.model, "cpu", arguments.size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "detector.onnx")
        write_onnx(detector, MIN_SCORE, path)
        exported = open_onnx(path)
    coco = read_json(COCO_PATH)
    sides = {"PyTorch": read_detections(DETECTIONS_PATH), "onnxruntime": detect_with(exported, coco)}
    for name, detections in sides.items():
        stats = evaluate_coco(coco, detections, detector.settings.max_detections).stats
        figures = ", ".join(f"{figure} {stats[key]:.4f}" for figure, key in FIGURES.items())
        print(f"{name}: {figures}, {sum(map(len, detections.values()))} detections")


if __name__ == "__main__":
    main()
