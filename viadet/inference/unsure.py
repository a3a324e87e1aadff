"""Which images the detector is least sure about: those that are worth annotating next (active learning)."""

import heapq
from collections.abc import Iterable


def unsureness(scores: Iterable[float]) -> float:
    """Measure how unsure a detector is about an image, from the scores of all its detections; 0: not at all.

    The 1-vs-2 margin of each detection, squared, and their sum: `sum((1 - |p1 - p2|) ** 2)` of Brust, Käding and
    Denzler, "Active learning for deep object detection" (VISAPP 2019), who found the sum better than mean and maximum.
    The network's scores are sigmoids, one for each class, so the two classes are the object and the background: `p1`
    is the score, `p2` is `1 - p1`. A detection at 0.5 counts 1, one at 0.05 or 0.95 counts 0.01.
    """
    return sum((1 - abs(2 * score - 1)) ** 2 for score in scores)


def least_sure(measures: Iterable[float], count: int) -> list[int]:
    """Give the indices of the `count` greatest measures, the greatest first, of equal ones the first in order."""
    ranked = heapq.nsmallest(count, ((-measure, index) for index, measure in enumerate(measures)))
    return [index for _, index in ranked]
