"""The picture of the confusion matrix."""

from collections import Counter

import numpy as np
from matplotlib.figure import Figure

from viadet.evaluation.confusion import BACKGROUND, MISSED, Confusions

CELL_INCHES = 0.55
LABELS_INCHES = 2.5  # room for the names of the classes
MAX_CLASSES = 30  # a cell each; a picture of 300 would take gigabytes, and nobody could read it


def draw_confusion_matrix(confusions: Confusions, names: list[str]) -> Figure:
    """Draw each pair of classes with its count, coloured by its share of the row: of a class's objects.

    Of more than MAX_CLASSES classes, those that are confused most are drawn, and all others together as one.
    """
    shown = _most_confused(confusions, names)
    left_out = len(names) - len(shown)
    others = [f"({left_out} others)"] if left_out else []
    place = {name: index for index, name in enumerate(shown)}
    side = len(shown) + len(others) + 1
    place |= {BACKGROUND: side - 1, MISSED: side - 1}
    matrix = np.zeros((side, side), dtype=int)
    for (object_name, detected_name), count in confusions.items():
        matrix[place.get(object_name, len(shown)), place.get(detected_name, len(shown))] += count

    side_inches = LABELS_INCHES + CELL_INCHES * side
    figure = Figure(figsize=(side_inches, side_inches), layout="constrained")
    ax = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ax.set_xticks(range(side), [*shown, *others, MISSED], rotation=90, parse_math=False)
    ax.set_yticks(range(side), [*shown, *others, BACKGROUND], parse_math=False)
    ax.set(xlabel="detections", ylabel="objects")
    if others:
        ax.set_title(f"The {len(shown)} of {len(names)} classes that are confused most; the table has all")
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if shares[row, column] > 0.5 else "black"
        ax.text(column, row, str(count), ha="center", va="center", color=colour)
    return figure


def _most_confused(confusions: Confusions, names: list[str]) -> list[str]:
    """Choose at most MAX_CLASSES classes, in their order: those most often taken for others, or others for them.

    Among equals, those of most objects and detections.
    """
    confused, seen = Counter(), Counter()
    for pair, count in confusions.items():
        classes = {*pair} - {BACKGROUND, MISSED}
        for name in classes:
            seen[name] += count
            confused[name] += count if len(classes) == 2 else 0
    ranked = sorted(names, key=lambda name: (-confused[name], -seen[name]))
    chosen = set(ranked[:MAX_CLASSES])
    return [name for name in names if name in chosen]
