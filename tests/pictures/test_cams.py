"""Pictures of class activation maps, drawn from made-up maps."""

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba

from viadet.explanation.explained_boxes import ExplainedBox, ExplainedImage
from viadet.explanation.maps import inside_box
from viadet.explanation.perturbation import CURVES, FRACTIONS
from viadet.explanation.randomisation import Randomisation
from viadet.explanation.targets import Target
from viadet.images.letterbox import InputImage, letterbox_of
from viadet.pictures.cams import draw_cams, draw_methods, heading, rows_to_draw
from viadet.project.params import GradCamParams

LEVELS = ["P3", "P4", "P5", "P6", "P7"]
POLYGON = torch.tensor([[10.0, 10], [40, 10], [25, 50]])


def box_of(kind, level, score=0.5):
    polygon = None if kind == "wrong" else POLYGON
    box_xyxy = np.array([10, 10, 40, 50], dtype=np.float32)
    return ExplainedBox(kind, box_xyxy, polygon, score, Target(torch.tensor([0]), 1, level, "score"), [], (0,))


def image_of(detections, missed=(), size_wh=(128, 96)):
    """An image in an input of 128 x 128 px, with boxes as (kind, level)."""
    letterbox = letterbox_of(*size_wh, (128, 128))
    canvas = torch.full((3, 128, 128), 128, dtype=torch.uint8)
    boxes = [[box_of(*box) for box in boxes] for boxes in (detections, missed)]
    return ExplainedImage(InputImage(canvas, letterbox), None, *boxes)


def params_of(**changes):
    params = GradCamParams(
        methods=["GradCAM"],
        target="score",
        normalise="image",
        score_threshold=0.4,
        max_boxes=5,
        max_mistakes=2,
        max_images=1,
        measured_images=None,
        checked_images=1,
    )
    return params.model_copy(update=changes)


def maps_of(image):
    """Random maps of all boxes, at the level that made the box and finer ones."""
    generator = np.random.default_rng(0)
    return [
        {level: generator.random(size=(16 >> level,) * 2).astype(np.float32) for level in range(box.target.level + 1)}
        for box in image.boxes
    ]


def drawn(image, level_names=LEVELS, coarse_maps=None, names=("balloon",), **changes):
    maps = maps_of(image) if coarse_maps is None else coarse_maps
    return draw_cams(image, maps, level_names, "GradCAM", params_of(**changes), dict(enumerate(names, start=1)))


def titles_of(figure, columns=7):
    titles = [ax.get_title() for ax in figure.axes]
    return [titles[start : start + columns] for start in range(0, len(titles), columns)]


def test_the_best_detections_then_mistakes_are_drawn():
    kinds = ["right", "wrong", "right", "wrong", "right", "wrong"]
    image = image_of([(kind, 0) for kind in kinds], [("missed", 0)] * 3)
    rows = rows_to_draw(image, params_of(max_boxes=2, max_mistakes=1))
    assert rows == [0, 1, 3, 6]
    assert [image.boxes[row].kind for row in rows] == ["right", "wrong", "wrong", "missed"]
    assert rows_to_draw(image, params_of(max_boxes=2, max_mistakes=0)) == [0, 1]
    assert rows_to_draw(image, params_of(max_boxes=9)) == [0, 1, 2, 3, 4, 5, 6, 7]


def test_the_heading_names_method_and_output_and_counts_boxes():
    image = image_of([("right", 0)], [("missed", 0)] * 2)
    assert heading(image, "GradCAM", params_of()) == "GradCAM of the class score: 1 detection of 0.4 or more, 2 missed"
    image = image_of([("right", 0)] * 2)
    expected = "LayerCAM of the class score and box regression: 2 detections of 0.4 or more, 0 missed"
    assert heading(image, "LayerCAM", params_of(target="both")) == expected


def test_without_a_box_to_draw_the_picture_says_so():
    figure = drawn(image_of([], [("missed", 0)]), max_mistakes=0, score_threshold=1.0)
    (text,) = figure.texts
    assert text.get_text() == "GradCAM of the class score: no detections of 1 or more, 1 missed"
    assert titles_of(figure) == [["nothing to explain", "", "", "", "", "", ""]]


def test_titles_name_the_level_that_made_the_box_and_those_without_a_gradient():
    right, wrong, missed = titles_of(drawn(image_of([("right", 1, 0.75), ("wrong", 2)], [("missed", 0, 0.25)])))
    none = ": no gradient"
    assert right == ["right, 0.75", "P3", "P4, made here", f"P5{none}", f"P6{none}", f"P7{none}", "sum"]
    assert wrong == ["wrong, 0.50", "P3", "P4", "P5, made here", f"P6{none}", f"P7{none}", "sum"]
    missed_levels = ["P3, nearest anchors here", f"P4{none}", f"P5{none}", f"P6{none}", f"P7{none}"]
    assert missed == ["missed, best anchor 0.25", *missed_levels, "sum"]


def test_of_several_classes_a_row_names_its_own():
    image = image_of([("right", 1, 0.75)], [("missed", 0, 0.25)])
    image.missed[0] = image.missed[0]._replace(target=image.missed[0].target._replace(label=2))
    right, missed = titles_of(drawn(image, names=("cat", "dog")))
    assert (right[0], missed[0]) == ("right cat, 0.75", "missed dog, best anchor 0.25")


def test_a_map_without_positive_values_is_empty():
    image = image_of([("right", 0)])
    figure = drawn(image, coarse_maps=[{0: np.full((16, 16), -1, dtype=np.float32)}])
    assert titles_of(figure)[0][1] == "P3, made here: empty"
    assert len(figure.axes[1].images) == 1  # the photograph
    assert titles_of(figure)[0][6] == "sum: empty"


def test_a_network_with_six_levels_is_drawn_with_six():
    """The recipes' networks have P3 to P7; tf_efficientdet_d7x has P8 as well."""
    figure = drawn(image_of([("right", 4)]), [*LEVELS, "P8"])
    assert len(figure.axes) == 8
    assert titles_of(figure, 8)[0][5:] == ["P7, made here", "P8: no gradient", "sum"]


def test_a_box_is_drawn_in_the_colour_of_its_kind_and_its_level_is_framed():
    figure = drawn(image_of([("right", 1), ("wrong", 0)], [("missed", 0)]))
    for row, (level, colour) in enumerate([(1, "orange"), (0, "red"), (0, "lime")]):
        photograph, *maps = figure.axes[7 * row : 7 * row + 7]
        assert photograph.patches[-1].get_edgecolor() == to_rgba(colour)
        assert len(photograph.collections) == (colour != "red")  # the object's polygon
        framed = [len(ax.patches) for ax in maps]
        assert framed == [4 if index == level else 3 for index in range(6)]  # both detections, the box, the frame


def test_normalised_in_the_box_colours_span_the_map_inside_it():
    image = image_of([("right", 0)])
    mask = inside_box((96, 128), image.detections[0].box_xyxy)
    heats = {}
    for normalise in ("image", "box"):
        heat = drawn(image, normalise=normalise).axes[1].images[1]
        heats[normalise] = np.asarray(heat.get_array())
        assert heat.get_clim() == (0, heats[normalise].max())
    assert heats["box"][~mask].max() == 0
    np.testing.assert_array_equal(heats["box"][mask], heats["image"][mask])
    assert heats["image"][~mask].max() > 0


@pytest.mark.parametrize("kinds", [["right", "wrong"], []])
@pytest.mark.parametrize("size_wh", [(60, 180), (180, 60)])
def test_titles_keep_clear_of_each_other_and_of_the_edge(size_wh, kinds):
    figure = drawn(image_of([(kind, 4) for kind in kinds], [("missed", 4)], size_wh))
    FigureCanvasAgg(figure).draw()  # lays the figure out
    titles = [ax.title.get_window_extent() for ax in figure.axes if ax.get_title()]
    titles += [text.get_window_extent() for text in figure.texts]
    assert len(titles) == 7 * (len(kinds) + 1) + 1
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height for box in titles)
    assert not any(box.overlaps(other) for index, box in enumerate(titles) for other in titles[:index])


def test_methods_are_compared_by_their_curves_beside_the_baselines():
    methods = ["GradCAM", "RandomCAM", "BoxCentre"]
    shares = np.array([FRACTIONS, FRACTIONS]) * [[1], [3]]
    measurements = {(method, curve): shares.tolist() for method in methods for curve in CURVES}
    correlations = {"GradCAM": [0.9, 0.1], "RandomCAM": [1.0, 1.0]}
    figure = draw_methods(measurements, Randomisation([("heads", "heads"), ("neck", "fpn.cell")], correlations, {}))
    deletion, insertion, randomisation = figure.axes
    for ax in (deletion, insertion):
        assert [line.get_label() for line in ax.lines] == methods
        assert ax.lines[0].get_xdata().tolist() == [2, 5, 10, 20, 40]
        assert ax.lines[0].get_ydata().tolist() == [0.04, 0.1, 0.2, 0.4, 0.8]
    assert randomisation.lines[0].get_ydata().tolist() == [0.9, 0.1]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == methods


def test_without_detections_no_method_has_a_curve():
    figure = draw_methods({}, Randomisation([("heads", "heads")], {"GradCAM": []}, {}))
    assert [len(ax.lines) for ax in figure.axes] == [0, 0, 1]  # the last one is the line at 0
    assert not figure.legends
