"""Image files and how they enter the network: decoding, letterboxing, tiles; polygons in them.

In: image files; polygons. Out: upright RGB as Pillow images or as uint8 tensors [3, H, W]; areas and masks.
"""
