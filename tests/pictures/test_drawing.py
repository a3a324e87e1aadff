"""Parts of pictures, down to the pixels where it matters."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from other_systems import refused_by_windows
from PIL import Image

from viadet.pictures.drawing import (
    DETECTION,
    GROUND_TRUTH,
    HEAT_COLOURS,
    MIN_CELL_WIDTH_INCHES,
    cell_wh_inches,
    draw_boxes,
    draw_polygons,
    grey_image,
    mark_cell,
    new_figure,
    picture_names,
    save_figure,
    show_heat,
    show_image,
)

GREY = torch.full((3, 60, 90), 128, dtype=torch.uint8)
LIME, ORANGE, MIDDLE = (0, 255, 0), (255, 165, 0), (128, 128, 128)
LOWEST, HIGHEST = (255 * np.array(colormaps[HEAT_COLOURS](end)[:3]) for end in (0.0, 1.0))


@pytest.fixture
def ax():
    """The axes of a cell of 300 x 200 px that shows an image of 90 x 60 px."""
    _, (ax,) = new_figure(1, 1, (3, 2))
    show_image(ax, GREY)
    return ax


def assert_pixels(ax, colours, tolerance=2):
    """Draw the figure and compare the colours at points of the image, in its px."""
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    for point, expected in colours.items():
        x, y = ax.transData.transform(point)
        colour = pixels[len(pixels) - 1 - int(y), int(x), :3].astype(int)
        assert np.abs(colour - expected).max() <= tolerance, (point, colour)


def test_cells_keep_the_proportions_of_the_image_unless_too_narrow_for_a_title():
    assert cell_wh_inches(torch.zeros(3, 60, 90), 3) == pytest.approx((3, 2))
    assert cell_wh_inches(torch.zeros(3, 90, 60), 3) == pytest.approx((2, 3))
    figure, axes = new_figure(3, 2, (3, 2), "heading")
    assert len(axes) == len(figure.axes) == 6
    for cell in (ax.get_window_extent() for ax in axes):
        assert (cell.width, cell.height) == pytest.approx((300, 200))
    narrow = new_figure(1, 1, (1, 2))[1][0].get_window_extent()
    assert narrow.width == pytest.approx(100 * MIN_CELL_WIDTH_INCHES)


def test_an_image_is_drawn_in_its_own_px_with_the_origin_at_the_upper_left():
    image = GREY.clone()
    image[:, :30, :45] = torch.tensor([255, 0, 0], dtype=torch.uint8).view(3, 1, 1)
    _, (ax,) = new_figure(1, 1, (3, 2))
    show_image(ax, image)
    assert_pixels(ax, {(20, 15): (255, 0, 0), (70, 15): MIDDLE, (20, 45): MIDDLE})


def test_a_long_title_gets_smaller_to_fit_into_its_cell():
    figure, (short, long) = new_figure(2, 1, (3, 2))
    show_image(short, GREY, "P3")
    show_image(long, GREY, "P3, stride 8, the three nearest anchors, no gradient")
    renderer = FigureCanvasAgg(figure).get_renderer()
    assert long.title.get_fontsize() < short.title.get_fontsize()
    assert long.title.get_window_extent(renderer).width <= long.get_window_extent().width


def test_boxes_and_polygons_are_outlines_in_px_of_the_image(ax):
    draw_boxes(ax, torch.tensor([[10.0, 12.0, 40.0, 48.0]]), GROUND_TRUTH)
    draw_polygons(ax, [torch.tensor([[60.0, 10.0], [80.0, 10.0], [80.0, 50.0]])], DETECTION)
    assert_pixels(ax, dict.fromkeys([(10, 30), (40, 30), (25, 12), (25, 48)], LIME), tolerance=20)  # soft edges
    assert_pixels(ax, dict.fromkeys([(25, 30), (5, 30), (75, 20), (60, 45)], MIDDLE))
    assert_pixels(ax, {(80, 30): ORANGE}, tolerance=40)


def test_labels_are_drawn_as_written_in_black_or_on_a_dark_colour_white(ax):
    draw_boxes(ax, torch.tensor([[10.0, 20, 30, 40], [50, 20, 70, 40]]), ["#ffe119", "#000075"], ["$5_a$ {", r"\frac"])
    FigureCanvasAgg(ax.figure).draw()  # would fail if names were formulas
    assert [(text.get_text(), text.get_color()) for text in ax.texts] == [("$5_a$ {", "black"), (r"\frac", "white")]


def grid(count):
    """Boxes of half the side of the cells of a grid over the image, xyxy."""
    side = (90 * 60 / count) ** 0.5
    places = [(x * side, y * side) for y in range(round(60 / side)) for x in range(round(90 / side))]
    return torch.tensor([[x, y, x + side / 2, y + side / 2] for x, y in places])


def test_boxes_with_room_have_full_lines_and_all_labels(ax):
    boxes_xyxy = grid(6)
    draw_boxes(ax, boxes_xyxy, DETECTION, ["kite"] * len(boxes_xyxy), [0.876] * len(boxes_xyxy))
    assert {patch.get_linewidth() for patch in ax.patches} == {2.0}
    assert [text.get_text() for text in ax.texts] == ["kite 0.88"] * len(boxes_xyxy)


@pytest.mark.parametrize("count", [150, 600, 2400])
def test_where_boxes_crowd_lines_are_thin_and_only_the_first_of_each_name_has_a_label(ax, count):
    boxes_xyxy = grid(count)
    names = ["cat", "dog", *["cat"] * (len(boxes_xyxy) - 3), "cow"]
    draw_boxes(ax, boxes_xyxy, DETECTION, names)
    assert [text.get_text() for text in ax.texts] == ["cat", "dog", "cow"]
    for text in ax.texts:
        text.set_visible(False)
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    inside = np.asarray(canvas.buffer_rgba())[-208:-8, 8:308, :3]  # the image, without title and gaps
    assert (np.abs(inside.astype(int) - MIDDLE).max(axis=2) < 40).mean() > 0.5  # the image, seen between the lines


def test_of_crowded_boxes_without_names_the_best_has_its_score(ax):
    boxes_xyxy = grid(150)
    draw_boxes(ax, boxes_xyxy, DETECTION, scores=torch.linspace(1, 0.4, len(boxes_xyxy)).tolist())
    assert [text.get_text() for text in ax.texts] == ["1.00"]


def test_crowded_polygons_have_thin_lines(ax):
    polygons = [torch.tensor([[x0, y0], [x1, y0], [x1, y1]]) for x0, y0, x1, y1 in grid(600).tolist()]
    draw_polygons(ax, polygons[:6], DETECTION)
    draw_polygons(ax, polygons, DETECTION)
    few, many = (collection.get_linewidth()[0] for collection in ax.collections)
    assert few == 1.0
    assert many < 0.5


@pytest.mark.parametrize(("x", "y"), [(0, 0), (88, 0), (0, 58), (88, 58)])
def test_a_label_is_not_cut_off_at_any_corner_of_the_image(ax, x, y):
    draw_boxes(ax, torch.tensor([[x, y, x + 2.0, y + 2.0]]), DETECTION, ["balloon"])
    renderer = FigureCanvasAgg(ax.figure).get_renderer()
    label, image = ax.texts[0].get_window_extent(renderer), ax.get_window_extent()
    assert image.x0 - 2 <= label.x0 < label.x1 <= image.x1 + 2
    assert image.y0 - 2 <= label.y0 < label.y1 <= image.y1 + 2


def test_the_colours_of_a_heat_map_span_the_given_values(ax):
    heat = np.zeros((60, 90))
    heat[:, 45:] = 2.0
    show_heat(ax, heat, (0.0, 2.0), opacity=1.0)
    assert_pixels(ax, {(20, 30): LOWEST, (70, 30): HIGHEST})


@pytest.mark.parametrize("colour_bar", [False, True])  # matplotlib's colour bar widens an empty range
def test_a_constant_heat_map_has_the_lowest_colour(ax, colour_bar):
    show_heat(ax, np.full((60, 90), 3.0), (3.0, 3.0), opacity=1.0, colour_bar=colour_bar)
    assert_pixels(ax, {(45, 30): LOWEST})


def test_a_heat_map_lies_over_its_photograph_with_a_bar_of_its_range(ax):
    show_heat(ax, np.zeros((60, 90)), (0.0, 12.345), opacity=0.5, colour_bar=True)
    assert_pixels(ax, {(45, 10): (LOWEST + MIDDLE) / 2})
    (bar,) = ax.child_axes
    assert [text.get_text() for text in bar.get_xticklabels()] == ["0", "12.3"]


def test_a_grey_image_keeps_its_shape_and_has_no_colour():
    image = torch.randint(0, 256, (3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    grey = grey_image(image)
    assert grey.shape == image.shape
    assert grey.dtype == torch.uint8
    assert torch.equal(grey[0], grey[1])
    assert torch.equal(grey[0], grey[2])


def test_a_marked_cell_has_a_frame(ax):
    mark_cell(ax, GROUND_TRUTH)
    assert_pixels(ax, {(0, 30): LIME, (89.9, 30): LIME, (45, 0.1): LIME, (45, 59.9): LIME, (45, 30): MIDDLE})


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_equal_pictures_are_equal_files_that_name_no_software(name, tmp_path):
    saved = []
    for _ in range(2):
        figure, (ax,) = new_figure(1, 1, (3, 2), "heading")
        show_image(ax, GREY, "title")
        save_figure(figure, tmp_path / name)
        saved.append((tmp_path / name).read_bytes())
    assert saved[0] == saved[1]
    assert b"matplotlib" not in saved[0].lower()
    with Image.open(tmp_path / name) as picture:
        assert picture.size == (316, 276)  # the cell, its title of 30 px, the heading of 38 px, gaps of 8 px


def test_a_figure_of_more_px_than_a_jpeg_can_have_is_written_smaller(tmp_path):
    save_figure(new_figure(1, 1, (0.1, 1000.0))[0], tmp_path / "tall.jpg")
    with Image.open(tmp_path / "tall.jpg") as picture:
        assert picture.height == pytest.approx(65_500, abs=1)


def test_a_title_in_a_script_that_the_font_lacks_causes_no_warnings(tmp_path, recwarn):
    figure, (ax,) = new_figure(1, 1, (3.0, 2.0))
    show_image(ax, torch.zeros(3, 40, 60, dtype=torch.uint8), "عکس, 照片.jpg")
    save_figure(figure, tmp_path / "picture.png")
    assert not recwarn.list


def test_every_image_has_a_picture_of_its_own_and_no_name_is_a_number():
    names = names_of("17.jpg", "17.png", "a.b.jpg", "17.jpeg")
    assert names == ["val_17.jpg", "val_17.png.jpg", "val_a.b.jpg", "val_17.jpeg.jpg"]
    # `dvc plots diff` can't sort numbers and other names in one folder
    assert not any(Path(name).stem.isdigit() for name in names)


def names_of(*file_names):
    return list(
        picture_names({"images": [{"id": i, "file_name": f"val/{n}"} for i, n in enumerate(file_names)]}).values()
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [("x", "x.jpg"), ("x.jpg", "x"), ("a/b.jpg", "a_b.jpg"), ("x.jpg", "X.jpg"), ("a_b.jpg", "a:b.jpg")],
)
def test_pictures_of_images_with_similar_names_are_different_files(first, second):
    one, other = names_of(first, second)
    assert one == names_of(first)[0]
    assert other == f"{Path(names_of(second)[0]).stem}-2.jpg"


def test_windows_accepts_the_name_of_any_picture():
    names = names_of('a:b*c?"<d>|e\\f.jpg', "aux.jpg", "dots...", "blank ", "x" * 250)
    assert names[:4] == ["val_a_b_c___d__e_f.jpg", "val_aux.jpg", "val_dots....jpg", "val_blank .jpg"]
    assert len(names[4]) < 130


def test_no_picture_has_the_name_of_a_device_of_windows():
    entries = [{"id": name, "file_name": name} for name in ("aux.jpg", "CON.png", "nul", "com1.x.jpg", "console.jpg")]
    names = list(picture_names({"images": entries}).values())
    assert names == ["aux_.jpg", "CON_.png.jpg", "nul_.jpg", "com1_.x.jpg", "console.jpg"]
    assert not any(refused_by_windows(Path(name)) for name in names)


def test_an_image_whose_name_is_no_utf_8_has_a_picture_and_a_title(tmp_path):
    assert names_of("f\udcff.jpg") == ["val_f.jpg"]
    figure, (ax,) = new_figure(1, 1, (3.0, 2.0), "f\udcff.jpg")
    show_image(ax, GREY, "f\udcff.jpg")
    assert ax.get_title() == figure.texts[0].get_text() == "f\\udcff.jpg"
    save_figure(figure, tmp_path / "picture.jpg")  # matplotlib fails on other names


def test_the_picture_of_an_image_with_a_long_name_has_a_name_that_file_systems_allow(tmp_path):
    one, other = names_of(f"{'ß' * 120}.jpg", f"{'ß' * 120}.png")
    assert one != other
    (tmp_path / other).write_bytes(b"")


def test_pictures_of_long_names_tell_the_images_apart():
    frames = [f"{'camera 1, ' * 12}{number:04}.png" for number in range(3)]
    names = names_of(*frames)
    assert [name[-12:] for name in names] == ["0000.png.jpg", "0001.png.jpg", "0002.png.jpg"]
    assert all(name.startswith("val_camera 1, ") and len(name) == 124 for name in names)


def test_thousands_of_long_names_that_differ_only_in_the_middle_take_no_time():
    names = names_of(*(f"{'x' * 60}{number:05}{'x' * 100}.jpg" for number in range(8000)))
    assert len(set(names)) == 8000
    assert names[7999].endswith("x-8000.jpg")


@settings(max_examples=50)
@given(
    st.lists(st.text(st.sampled_from("aA-2/.ß\udcff"), max_size=4).map(lambda end: f"{'a' * 118}{end}"), max_size=12)
)
def test_no_two_pictures_share_a_name_whatever_the_images_are_called(file_names):
    names = names_of(*file_names)
    assert len({name.casefold() for name in names}) == len(file_names)
    assert all(len(name.encode()) < 135 for name in names)
