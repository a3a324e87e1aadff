"""The picture of the confusion matrix."""

import numpy as np
from matplotlib.figure import Figure

from viadet.evaluation.confusion import BACKGROUND, MISSED

CELL_INCHES = 0.55
LABELS_INCHES = 2.5  # room for the names of the classes
MAX_NUMBERED = 30  # classes; with more, cells are too many to read numbers in


def draw_confusion_matrix(matrix: np.ndarray, names: list[str]) -> Figure:
    """Draw each cell of a `confusion_matrix` with its count, coloured by its share of the row: of a class's objects."""
    side = LABELS_INCHES + CELL_INCHES * len(matrix)
    figure = Figure(figsize=(side, side), layout="constrained")
    ax = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(matrix))
    ax.set_xticks(ticks, [*names, MISSED], rotation=90, parse_math=False)
    ax.set_yticks(ticks, [*names, BACKGROUND], parse_math=False)
    ax.set(xlabel="detections", ylabel="objects")
    if len(names) <= MAX_NUMBERED:
        for (row, column), count in np.ndenumerate(matrix):
            colour = "white" if shares[row, column] > 0.5 else "black"
            ax.text(column, row, str(count), ha="center", va="center", color=colour)
    return figure
