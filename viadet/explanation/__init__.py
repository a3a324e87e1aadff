"""Why the network decides as it does: feature maps, class activation maps, and whether these can be trusted.

In: a network, images, COCO annotations. Out: maps [h, w] by box and level, and what was measured of them.
"""
