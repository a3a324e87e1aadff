"""VIA annotations as COCO annotations: VIA files, shapes, categories, folds, counts.

In: a VIA file and its images. Out: COCO JSON; boxes are xywh in px of the upright image.
"""
