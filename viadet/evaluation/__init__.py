"""Measuring detections: COCO metrics, matches, kinds of errors, a confidence interval, several views of an image.

In: COCO annotations and COCO results. Out: metrics and rows of curves.
"""
