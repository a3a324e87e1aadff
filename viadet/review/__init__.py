"""What may be wrong in annotations, by networks that have not seen the images.

In: annotations, and the detections of cross-validation.
Out: suspects with a score, and a project of VIA 2 with them.
"""
