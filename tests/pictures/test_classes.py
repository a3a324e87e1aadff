"""Colours and names of classes."""

from itertools import combinations

import numpy as np
from matplotlib.colors import to_rgb

from viadet.pictures.classes import COLOURS, class_colours, class_names

SINGLE, SEVERAL = {1: "cat"}, {1: "cat", 2: "dog", 3: "cow"}


def test_a_single_class_has_the_given_colour_and_no_name():
    assert class_colours([1, 1], SINGLE, "lime") == ["lime", "lime"]
    assert class_names([1, 1], SINGLE) is None


def test_a_class_keeps_its_colour_however_many_others_there_are():
    colours = class_colours([3, 1, 3], SEVERAL, "lime")
    assert colours[0] == colours[2] != colours[1]
    many = {number: str(number) for number in range(1, 100)}
    assert class_colours([3, 1, 3], many, "lime") == colours
    assert len(set(class_colours(list(many), many, "lime"))) == len(COLOURS)
    assert class_names([3, 1, 3], SEVERAL) == ["cow", "cat", "cow"]


def test_colours_differ_clearly():
    distances = [np.abs(np.subtract(to_rgb(a), to_rgb(b))).sum() for a, b in combinations(COLOURS, 2)]
    assert min(distances) > 0.25
