"""Annotation files of the VGG Image Annotator (VIA), of all its versions: finding and reading them, shapes as outlines.

In: JSON and CSV files. Out: images with regions as VIA 2 writes them; outlines (x, y) in px of the upright image.
"""
