"""The rendered sample: pictures of balloons with VIA polygons, drawn by the project itself.

In: a number of images, their size, a seed. Out: JPEGs and their VIA file.
"""
