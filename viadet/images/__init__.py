"""Image files and how they enter the network: decoding, letterboxing, the pixels of a polygon.

In: image files. Out: upright RGB as Pillow images or as uint8 tensors [3, H, W].
"""
