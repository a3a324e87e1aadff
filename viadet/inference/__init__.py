"""A trained detector outside of the pipeline: detecting from a model folder alone, exporting it to other programs.

In: a model folder, images. Out: detections as arrays, COCO results, CSV and VIA projects; exported networks.
"""
