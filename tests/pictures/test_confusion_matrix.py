"""The picture of the confusion matrix."""

from itertools import pairwise

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from viadet.pictures.confusion_matrix import draw_confusion_matrix

MATRIX = np.array([[8, 1, 1], [0, 0, 0], [2, 3, 0]])


def test_each_cell_has_its_count_and_is_coloured_by_its_share_of_the_row():
    (ax,) = draw_confusion_matrix(MATRIX, ["cat", "$5"]).axes
    assert [text.get_text() for text in ax.texts] == ["8", "1", "1", "0", "0", "0", "2", "3", "0"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["cat", "$5", "(missed)"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["cat", "$5", "(background)"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.8, 0.1, 0.1], [0, 0, 0], [0.4, 0.6, 0]])


def test_of_many_classes_the_names_fit_and_counts_are_left_out():
    names = [f"class number {number}" for number in range(60)]
    figure = draw_confusion_matrix(np.ones((61, 61), dtype=int), names)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # lays the figure out
    (ax,) = figure.axes
    assert not ax.texts
    labels = [text.get_window_extent() for text in [*ax.get_xticklabels(), *ax.get_yticklabels()]]
    assert all(label.x0 >= 0 and label.y0 >= 0 for label in labels)
    assert not any(label.overlaps(other) for label, other in pairwise(labels[:61]))
