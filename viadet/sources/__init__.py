"""Where data comes from: downloads, archives, folders, checksums, initial weights.

In: the `fetch` section of a recipe and `model.init`. Out: images with VIA files, and a weights file.
"""
