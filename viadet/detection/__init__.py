"""Detecting: from networks and images to detections, in one view of each image or in several that are merged.

In: model folders or networks in memory, images. Out: `Detections`, one for each image.
"""
