"""A data set of VIA annotations as COCO annotations: image names, categories, faults, splits, the report.

In: a folder with annotation files and images. Out: COCO JSON; boxes are xywh in px of the upright image.
"""
