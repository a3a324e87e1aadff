"""A trained detector outside of the pipeline: detecting in any number of files, exporting it to other programs.

In: a detector, images. Out: detections as COCO results, CSV and VIA projects; an ONNX file.
"""
