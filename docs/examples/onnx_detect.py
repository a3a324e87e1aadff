"""Detect objects with what `viadet export` wrote: python onnx_detect.py detector.onnx photograph.jpg …"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1])
categories = json.loads(session.get_modelmeta().custom_metadata_map["categories"])
for path in sys.argv[2:]:
    image = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    boxes_xyxy, scores, labels = (values[0] for values in session.run(None, {"images": image[None]}))
    print(f"{path}: {len(scores)} detections")
    for (x0, y0, x1, y1), score, label in zip(boxes_xyxy, scores, labels, strict=True):
        print(f"  {categories[label - 1]} {score:.3f}: from ({x0:.1f}, {y0:.1f}) to ({x1:.1f}, {y1:.1f}) px")
