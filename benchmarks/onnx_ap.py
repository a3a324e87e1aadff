"""Compare the AP of an exported ONNX file with PyTorch's on the validation images, after `dvc repro evaluate`."""

import argparse
import tempfile
from pathlib import Path

from viadet.inference.detector import load_detector, read_existing_image
from viadet.network.boxes import MIN_SCORE

from viadet.evaluation.coco_metrics import run_cocoeval
from viadet.inference.export_check import ExportedDetector
from viadet.inference.onnx_export import open_onnx, write_onnx
from viadet.project.files import read_json

COCO_PATH, DETECTIONS_PATH, IMAGE_DIR = Path("data/coco/val.json"), Path("data/detections.json"), Path("data/raw")
FIGURES = {"bbox mAP": 0, "AP50": 1, "AP75": 2}  # places in COCOeval's stats


def detect_coco_with(exported: ExportedDetector, coco: dict) -> list[dict]:
    """Detect in all images of a COCO data set; results in COCO's format, rounded as those of `evaluate`."""
    results = []
    for entry in coco["images"]:
        image = read_existing_image(IMAGE_DIR / entry["file_name"]).permute(1, 2, 0).contiguous().numpy()
        boxes_xyxy, scores, labels = (values[0].tolist() for values in exported(image[None]))
        for (x0, y0, x1, y1), score, label in zip(boxes_xyxy, scores, labels, strict=True):
            bbox = [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)]
            result = {"image_id": entry["id"], "category_id": label, "bbox": bbox, "score": round(score, 5)}
            results.append(result)
    return results


def main() -> None:
    """Export the model and print the figures of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("data/model"))
    parser.add_argument("--size", type=int, required=True, help="longer side of the input, px: the recipe's test_size")
    arguments = parser.parse_args()

    (scaled,) = load_detector(arguments.model, "cpu", arguments.size).networks
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "detector.onnx")
        write_onnx(scaled, MIN_SCORE, path)
        exported = open_onnx(path)
    coco = read_json(COCO_PATH)
    for name, results in {
        "PyTorch": read_json(DETECTIONS_PATH),
        "onnxruntime": detect_coco_with(exported, coco),
    }.items():
        stats = run_cocoeval(coco, results).stats
        figures = ", ".join(f"{figure} {stats[place]:.4f}" for figure, place in FIGURES.items())
        print(f"{name}: {figures}, {len(results)} detections")


if __name__ == "__main__":
    main()
