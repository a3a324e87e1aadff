"""Measuring detections: COCO metrics, one table of matches, kinds of errors, a confidence interval.

In: COCO annotations and detections. Out: metrics and rows of curves.
"""
