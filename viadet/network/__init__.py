"""EfficientDet: building it, weights, devices, anchors and boxes, detecting.

In: a recipe's `model` section, or a model folder; images. Out: networks, detections, COCO results.
"""
