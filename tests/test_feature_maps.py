from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL, write_params
from PIL import Image

from stages import feature_maps
from stages.detection.images import letterbox_of
from stages.detection.maps import crop_map, energy_share, strongest_channels
from stages.detection.network import load_network
from stages.detection.params import read_recipe

CPU = torch.device("cpu")
NAMES = ["val_0000.jpg", "val_0001.jpg", "val_0002.jpg"]


def pictures():
    return {path.name: path.read_bytes() for path in sorted(Path("plots/feature_maps").iterdir())}


@pytest.mark.parametrize("size_wh", [(200, 100), (100, 200), (123, 77)])
@pytest.mark.parametrize("stride", [8, 32, 128])
def test_a_bright_dot_in_a_known_corner_stays_there(size_wh, stride):
    width, height = size_wh
    letterbox = letterbox_of(width, height, 256)
    values = torch.zeros(1, 256 // stride, 256 // stride)
    values[0, 0, 0] = 1  # the cell of the upper left corner: its centre is stride / 2
    cropped = crop_map(values, 256, letterbox)[0]
    assert cropped.shape == (letterbox.height, letterbox.width)
    # linear interpolation: 1 up to the centre of the cell, half of it at the cell's edge
    assert cropped[0, 0] == 1
    assert cropped[0, stride - 1] > 0.5 - 0.5 / stride
    if stride < letterbox.width:
        assert cropped[0, stride] < 0.5 + 0.5 / stride


@pytest.mark.parametrize(("size_wh", "row", "column"), [((200, 100), 10, 20), ((100, 200), 20, 10)])
def test_a_dot_far_from_the_corner_is_found_at_its_place(size_wh, row, column):
    letterbox = letterbox_of(*size_wh, 256)  # covers 256 x 128 or 128 x 256 px
    values = torch.zeros(32, 32)
    values[row, column] = 1  # a cell of stride 8: x from 8 * column, y from 8 * row
    y, x = divmod(int(crop_map(values, 256, letterbox).argmax()), letterbox.width)
    assert 8 * column <= x < 8 * (column + 1)
    assert 8 * row <= y < 8 * (row + 1)


def test_the_network_sees_a_bright_square_where_it_is(model):
    network, spec = load_network(Path("data/model"), CPU)
    image = torch.zeros(3, 100, 200, dtype=torch.uint8)
    empty = feature_maps.feature_maps_of(network, spec, image, CPU)
    image[:, 70:90, 160:180] = 255
    bright = feature_maps.feature_maps_of(network, spec, image, CPU)
    # stride 8, where a cell sees little else; px of the input, scaled by 128 / 200
    change = (bright[0].channels - empty[0].channels).abs().mean(0)
    y, x = divmod(int(change.argmax()), change.shape[1])
    assert 160 - 20 <= x * 200 / 128 <= 180 + 20
    assert 70 - 20 <= y * 200 / 128 <= 90 + 20


def test_layers_are_named_by_level_and_stride(model):
    network, spec = load_network(Path("data/model"), CPU)
    maps = feature_maps.feature_maps_of(network, spec, torch.zeros(3, 60, 120, dtype=torch.uint8), CPU)
    assert [feature_map.title for feature_map in maps] == [
        *(f"backbone, stride {stride}" for stride in (8, 16, 32)),
        *(f"P{level}, stride {2**level}" for level in range(3, 8)),
    ]
    assert {tuple(feature_map.channels.shape[1:]) for feature_map in maps} == {(64, 128)}


def test_the_strongest_channels_come_first():
    values = torch.stack([torch.full((2, 2), value) for value in (1.0, -3.0, 2.0)])
    assert strongest_channels(values, 2).tolist() == [1, 2]
    assert feature_maps.reduce_channels(values, "max").tolist() == [[-3, -3], [-3, -3]]
    assert feature_maps.reduce_channels(values, "mean").tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("reduction", ["mean", "max", "topk"])
def test_every_reduction_draws_each_image_the_same_again(model, reduction):
    write_params(SMALL | {"feature_maps.reduction": reduction, "feature_maps.topk": 3})
    feature_maps.main()
    first = pictures()
    assert list(first) == NAMES
    feature_maps.main()
    assert pictures() == first


def test_topk_has_a_row_a_layer_and_a_column_a_channel(model):
    params = read_recipe().feature_maps.model_copy(update={"reduction": "topk", "topk": 3})
    network, spec = load_network(Path("data/model"), CPU)
    image = torch.zeros(3, 64, 128, dtype=torch.uint8)
    figure = feature_maps.draw(image, feature_maps.feature_maps_of(network, spec, image, CPU), params)
    assert len(figure.axes) == 8 * (1 + 3)


def test_no_more_than_max_images_are_drawn(model, capsys):
    write_params(SMALL | {"feature_maps.max_images": 2})
    feature_maps.main()
    assert list(pictures()) == NAMES[:2]
    assert "2 of 3 validation images drawn" in capsys.readouterr().out


def test_titles_are_not_clipped(model):
    """White all around each picture: nothing is drawn up to its edge."""
    feature_maps.main()
    for name in NAMES:
        with Image.open(f"plots/feature_maps/{name}") as picture:
            pixels = np.asarray(picture.convert("L"))
        assert pixels[0].min() > 200
        assert pixels[:, 0].min() > 200


def test_energy_is_shared_by_the_union_of_boxes():
    heat = np.ones((10, 20), dtype=np.float32)
    # boxes of 4 x 5 and 4 x 5 px that overlap in 2 x 5: (20 + 20 - 10) / 200
    boxes_xyxy = np.array([[0, 0, 4, 5], [2, 0, 6, 5]], dtype=np.float32)
    assert energy_share(heat, boxes_xyxy) == pytest.approx(0.15)
    assert energy_share(heat, np.zeros((0, 4))) == 0
    assert energy_share(heat * 0, boxes_xyxy) is None
