"""The training set: random views, pasted objects, mosaics, colours.

In: COCO JSON and images. Out: samples of the network's input size with xyxy boxes, by (seed, epoch, image).
"""
