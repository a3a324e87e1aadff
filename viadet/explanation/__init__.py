"""Why the network decides as it does: feature maps, class activation maps, and measurements of how far to trust them.

In: a network, images, COCO annotations. Out: maps [h, w] by box and level, and what was measured of them.
"""
