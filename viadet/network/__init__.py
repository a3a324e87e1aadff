"""EfficientDet: building it, weights, devices, anchors.

In: a recipe's `model` section, or a model folder. Out: networks, and their outputs as one list of anchors.
"""
