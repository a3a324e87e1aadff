"""The picture of the confusion matrix."""

from collections import Counter
from itertools import pairwise

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from viadet.pictures.confusion_matrix import MAX_CLASSES, draw_confusion_matrix

CONFUSIONS = Counter(
    {
        ("cat", "cat"): 8,
        ("cat", "$5"): 1,
        ("cat", "(missed)"): 1,
        ("(background)", "cat"): 2,
        ("(background)", "$5"): 3,
    }
)


def test_each_cell_has_its_count_and_is_coloured_by_its_share_of_the_row():
    (ax,) = draw_confusion_matrix(CONFUSIONS, ["cat", "$5"]).axes
    assert [text.get_text() for text in ax.texts] == ["8", "1", "1", "0", "0", "0", "2", "3", "0"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["cat", "$5", "(missed)"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["cat", "$5", "(background)"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.8, 0.1, 0.1], [0, 0, 0], [0.4, 0.6, 0]])
    assert ax.get_title() == ""


def test_of_a_thousand_classes_the_most_confused_are_drawn_and_all_others_together():
    names = [f"class number {number}" for number in range(1200)]
    confusions = Counter({(name, name): 5 for name in names} | {(name, "(missed)"): 7 for name in names})
    confusions |= Counter({(first, second): 2 for first, second in pairwise(names[600:610])})
    confusions[names[3], names[4]] = 1
    confusions["(background)", names[9]] = 4
    figure = draw_confusion_matrix(confusions, names)
    FigureCanvasAgg(figure).draw()  # lays the figure out
    (ax,) = figure.axes
    shown = [text.get_text() for text in ax.get_yticklabels()]
    assert {*names[600:610], *names[3:5], names[9]} <= {*shown}  # of the rest, none is confused, and 9 occurs most
    assert shown[-2:] == ["(1170 others)", "(background)"]
    assert [text.get_text() for text in ax.get_xticklabels()] == [*shown[:-1], "(missed)"]
    assert ax.get_title().startswith(f"The {MAX_CLASSES} of 1200 classes")
    counts = np.reshape([int(text.get_text()) for text in ax.texts], (len(shown), len(shown)))
    assert counts.sum() == confusions.total()
    assert counts[-2].tolist() == [0] * MAX_CLASSES + [5 * 1170, 7 * 1170]
    row, column = shown.index(names[600]), shown.index(names[601])
    assert (counts[row, row], counts[row, column], counts[row, -1], counts[-1, shown.index(names[9])]) == (5, 2, 7, 4)
    assert figure.get_figwidth() < 21


def test_the_names_of_the_most_classes_that_are_drawn_do_not_overlap():
    names = [f"class number {number}" for number in range(60)]
    figure = draw_confusion_matrix(Counter({(name, name): 1 for name in names}), names)
    FigureCanvasAgg(figure).draw()
    (ax,) = figure.axes
    labels = [text.get_window_extent() for text in [*ax.get_xticklabels(), *ax.get_yticklabels()]]
    assert all(label.x0 >= 0 and label.y0 >= 0 for label in labels)
    assert not any(label.overlaps(other) for label, other in pairwise(labels[: MAX_CLASSES + 2]))
