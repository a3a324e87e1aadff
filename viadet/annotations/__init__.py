"""VIA annotations as COCO annotations: files of all VIA versions, image names, shapes, categories, splits, counts.

In: a folder with annotation files and images. Out: COCO JSON; boxes are xywh in px of the upright image.
"""
