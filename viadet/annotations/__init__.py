"""VIA annotations as COCO annotations: files, the shapes of regions, categories, folds, counts.

In: a VIA file and its images. Out: COCO JSON, boxes as xywh in px of the upright image.
"""
