"""From the cells of a level to the px of the photograph."""

import numpy as np
import pytest
import torch

from viadet.explanation.maps import crop_cells, enlarge_box_maps, enlarge_to_photograph, inside_box, sum_of_levels
from viadet.images.letterbox import letterbox_of


@pytest.mark.parametrize("size_wh", [(200, 100), (100, 200), (123, 77)])
@pytest.mark.parametrize("stride", [8, 32, 128])
def test_a_bright_dot_in_a_known_corner_stays_there(size_wh, stride):
    width, height = size_wh
    letterbox = letterbox_of(width, height, (256, 256))
    values = torch.zeros(256 // stride, 256 // stride)
    values[0, 0] = 1  # the cell of the upper left corner: its centre is stride / 2
    enlarged = enlarge_to_photograph(values, letterbox)
    assert enlarged.shape == (letterbox.height, letterbox.width)
    # linear interpolation: 1 up to the centre of the cell, half of it at the cell's edge
    assert enlarged[0, 0] == 1
    assert enlarged[0, stride - 1] > 0.5 - 0.5 / stride
    if stride < letterbox.width:
        assert enlarged[0, stride] < 0.5 + 0.5 / stride


@pytest.mark.parametrize(("size_wh", "row", "column"), [((200, 100), 10, 20), ((100, 200), 20, 10)])
def test_a_dot_far_from_the_corner_is_found_at_its_place(size_wh, row, column):
    letterbox = letterbox_of(*size_wh, (256, 256))  # covers 256 x 128 or 128 x 256 px
    values = torch.zeros(32, 32)
    values[row, column] = 1  # a cell of stride 8: x from 8 * column, y from 8 * row
    y, x = divmod(int(enlarge_to_photograph(values, letterbox).argmax()), letterbox.width)
    assert 8 * column <= x < 8 * (column + 1)
    assert 8 * row <= y < 8 * (row + 1)


def test_all_levels_of_a_box_are_enlarged_to_the_photograph_without_the_letterbox():
    coarse_maps = {0: np.ones((16, 16), dtype=np.float32), 2: np.zeros((4, 4), dtype=np.float32)}
    enlarged = enlarge_box_maps(coarse_maps, letterbox_of(120, 60, (128, 128)))
    assert {level: heat.shape for level, heat in enlarged.items()} == {0: (64, 128), 2: (64, 128)}


def test_cells_beside_the_photograph_are_left_out():
    values = torch.arange(16.0).view(4, 4)
    # 100 x 60 px in an input of 128: 128 x 77 px, which touches three of the four rows
    assert torch.equal(crop_cells(values, letterbox_of(100, 60, (128, 128))), values[:3])
    assert torch.equal(crop_cells(values, letterbox_of(60, 100, (128, 128))), values[:, :3])


def test_the_sum_of_levels_leaves_out_what_is_negative():
    heats = {0: np.array([[1.0, -5]]), 3: np.array([[2.0, 4]])}
    assert sum_of_levels(heats).tolist() == [[3, 4]]


def test_a_pixel_is_inside_a_box_if_its_centre_is():
    inside = inside_box((3, 4), np.array([0.6, 0.4, 2.5, 2.5]))
    assert inside.astype(int).tolist() == [[0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
