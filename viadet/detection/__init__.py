"""Detecting: from a network and images to detections, in one view of each image or in several that are merged.

In: a model folder or a network in memory, images. Out: `Detections`, one for each image.
"""
