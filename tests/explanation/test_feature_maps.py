from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from projects import SMALL, write_params

from stages import evaluate, feature_maps
from viadet.annotations.coco import by_image
from viadet.explanation.layers import ImageMaps, LayerMaps, layer_outputs, map_image, reduce_channels, value_ranges
from viadet.explanation.maps import crop_map, strongest_channels
from viadet.images.letterbox import letterbox_image, letterbox_of
from viadet.network.build import prepare_images
from viadet.network.weights import load_network
from viadet.pictures.feature_maps import draw_feature_maps
from viadet.project.errors import UserError
from viadet.project.files import read_json
from viadet.project.params import read_recipe

CPU = torch.device("cpu")
NAMES = ["val_0000.jpg", "val_0001.jpg", "val_0002.jpg"]


@pytest.fixture
def evaluated(model):
    """A project whose detections have been written."""
    evaluate.main()
    return model


def pictures():
    return {path.name: path.read_bytes() for path in sorted(Path("plots/feature_maps").iterdir())}


@pytest.mark.parametrize("size_wh", [(200, 100), (100, 200), (123, 77)])
@pytest.mark.parametrize("stride", [8, 32, 128])
def test_a_bright_dot_in_a_known_corner_stays_there(size_wh, stride):
    width, height = size_wh
    letterbox = letterbox_of(width, height, (256, 256))
    values = torch.zeros(1, 256 // stride, 256 // stride)
    values[0, 0, 0] = 1  # the cell of the upper left corner: its centre is stride / 2
    cropped = crop_map(values, letterbox)[0]
    assert cropped.shape == (letterbox.height, letterbox.width)
    # linear interpolation: 1 up to the centre of the cell, half of it at the cell's edge
    assert cropped[0, 0] == 1
    assert cropped[0, stride - 1] > 0.5 - 0.5 / stride
    if stride < letterbox.width:
        assert cropped[0, stride] < 0.5 + 0.5 / stride


@pytest.mark.parametrize(("size_wh", "row", "column"), [((200, 100), 10, 20), ((100, 200), 20, 10)])
def test_a_dot_far_from_the_corner_is_found_at_its_place(size_wh, row, column):
    letterbox = letterbox_of(*size_wh, (256, 256))  # covers 256 x 128 or 128 x 256 px
    values = torch.zeros(32, 32)
    values[row, column] = 1  # a cell of stride 8: x from 8 * column, y from 8 * row
    y, x = divmod(int(crop_map(values, letterbox).argmax()), letterbox.width)
    assert 8 * column <= x < 8 * (column + 1)
    assert 8 * row <= y < 8 * (row + 1)


def project_model():
    """A project's network, its spec and the params of this stage."""
    return *load_network(Path("data/model"), CPU, (128, 128)), read_recipe().feature_maps


def normalised(image, spec):
    return prepare_images(letterbox_image(image, spec.input_wh, spec.fill_rgb)[None], spec, CPU)


def test_the_network_sees_a_bright_square_where_it_is(model):
    network, spec, _ = project_model()
    image = torch.zeros(3, 100, 200, dtype=torch.uint8)
    empty = layer_outputs(network, normalised(image, spec), ["C3"])
    image[:, 70:90, 160:180] = 255
    bright = layer_outputs(network, normalised(image, spec), ["C3"])
    # stride 8, where a cell sees little else; px of the input, scaled by 128 / 200
    change = (bright[0][0][1] - empty[0][0][1]).abs().mean(0)
    shown = crop_map(change, letterbox_of(200, 100, (128, 128)))
    y, x = divmod(int(shown.argmax()), shown.shape[1])
    assert 160 - 20 <= x * 200 / 128 <= 180 + 20
    assert 70 - 20 <= y * 200 / 128 <= 90 + 20


def test_layers_are_found_by_group_level_and_path(model):
    network, spec, _ = project_model()
    batch = normalised(torch.zeros(3, 64, 128, dtype=torch.uint8), spec)
    names = ["backbone", "neck", "P4", "C5", "backbone.blocks.2", "class_net.predict"]
    outputs = layer_outputs(network, batch, names)
    titles = [[title for title, _ in group] for group in outputs]
    assert titles == [
        ["C3", "C4", "C5"],
        ["P3", "P4", "P5", "P6", "P7"],
        ["P4"],
        ["C5"],
        ["backbone.blocks.2"],
        [f"class_net.predict [{level}]" for level in range(5)],
    ]
    with torch.inference_mode():
        backbone = network.backbone(batch)
        neck = network.fpn(list(backbone))
    for (_, values), expected in zip(outputs[0] + outputs[1], [*backbone, *neck], strict=True):
        torch.testing.assert_close(values, expected[0])
    torch.testing.assert_close(outputs[2][0][1], neck[1][0])
    torch.testing.assert_close(outputs[3][0][1], backbone[2][0])
    assert [values.shape[1] for _, values in outputs[5]] == [16, 8, 4, 2, 1]
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "nek",
            "no layer 'nek'; it has backbone, neck, C3, C4, C5, P3, P4, P5, P6, P7, or a module's path: backbone",
        ),
        ("P8", "no layer 'P8'; it has backbone, neck, C3"),
        ("backbone.blocks.9", "or a module's path below backbone.blocks: backbone.blocks.0, backbone.blocks.1"),
        ("", "no layer ''; it has backbone"),
        ("backbone.conv_stem.weight", "no layer 'backbone.conv_stem.weight'"),
        ("fpn.resample", "fpn.resample makes no maps of one image"),
    ],
)
def test_an_unknown_layer_lists_the_valid_ones(model, name, message):
    network, spec, _ = project_model()
    batch = normalised(torch.zeros(3, 64, 128, dtype=torch.uint8), spec)
    with pytest.raises(UserError) as error:
        layer_outputs(network, batch, [name])
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not any(module._forward_hooks for module in network.modules())


def test_channels_are_reduced_to_their_mean_the_strongest_or_the_strongest_ones(model):
    values = torch.stack([torch.full((2, 2), value) for value in (1.0, -3.0, 2.0)])
    letterbox = letterbox_of(128, 64, (128, 128))  # the upper half
    values[0, 1] = 100  # strong beside the photograph only
    params = read_recipe().feature_maps
    assert strongest_channels(values[:, :1], 2).tolist() == [1, 2]

    def reduced(reduction):
        changed = params.model_copy(update={"reduction": reduction, "topk": [1, 2]})
        return reduce_channels("P7", values, changed, letterbox)

    assert reduced("max").channels == [1]
    assert reduced("topk").channels == [1, 2]
    torch.testing.assert_close(reduced("mean").values[0, 0], torch.tensor([0.0, 0.0]))


def shown(values, letterbox):
    photograph = torch.zeros(3, letterbox.height, letterbox.width, dtype=torch.uint8)
    layers = [[LayerMaps("P3", values, [])]]
    return ImageMaps("a.jpg", photograph, letterbox, torch.zeros(0, 4), layers)


def test_colours_of_a_layer_span_the_same_values_in_all_images():
    letterbox = letterbox_of(128, 64, (128, 128))
    first, second = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    first[0, 0, 0], second[0, 1, 1] = -2, 5
    second[0, 3, 3] = 99  # beside the photograph
    images = [shown(first, letterbox), shown(second, letterbox)]
    assert value_ranges(images) == {"P3": (-2, 5)}


@pytest.mark.parametrize("reduction", ["mean", "max", "topk"])
def test_every_reduction_draws_each_image_the_same_again(evaluated, reduction):
    write_params(SMALL | {"feature_maps.reduction": reduction, "feature_maps.topk": [1, 3]})
    feature_maps.main()
    first = pictures()
    assert list(first) == NAMES
    feature_maps.main()
    assert pictures() == first


def figure_of(changes):
    network, spec, params = project_model()
    params = params.model_copy(update=changes)
    coco = read_json(Path("data/coco/val.json"))
    found = by_image(read_json(Path("data/detections.json")))
    entry = coco["images"][0]
    image = map_image(network, spec, entry, found[entry["id"]], params, CPU)
    return draw_feature_maps(image, value_ranges([image]), params), image


def titles_of(figure):
    return [ax.get_title() for ax in figure.axes if ax.get_title()]


def test_backbone_and_neck_stand_in_rows_of_their_own(evaluated):
    figure, _ = figure_of({})
    assert len(figure.axes) == 10  # two rows of five, one of them empty
    assert titles_of(figure)[1:] == [
        *(f"C{level}, stride {2**level}" for level in range(3, 6)),
        *(f"P{level}, stride {2**level}" for level in range(3, 8)),
    ]


def test_topk_has_a_block_a_layer_in_the_given_arrangement(evaluated):
    figure, image = figure_of({"reduction": "topk", "topk": [2, 3], "layers": ["P4", "C5"]})
    assert len(figure.axes) == 2 * 2 * (1 + 3)
    titles = titles_of(figure)
    assert titles[0] == "P4, stride 16"
    assert titles[1:7] == [f"channel {channel}" for channel in image.layers[0][0].channels]
    assert titles[7] == "C5, stride 32"


def test_overlay_detections_and_colour_bar_are_drawn_as_asked(evaluated):
    figure, image = figure_of({"layers": ["P4"], "overlay": 0.3, "colour_bar": True, "score_threshold": 0.0})
    _, ax = figure.axes
    assert ax.images[1].get_alpha() == 0.3
    assert len(image.boxes_xyxy) > 3
    assert len(ax.patches) == len(image.boxes_xyxy)
    low, high = value_ranges([image])["P4"]
    assert ax.images[1].get_clim() == (low, high)
    (bar,) = ax.child_axes
    assert [text.get_text() for text in bar.get_xticklabels()] == [f"{low:.3g}", f"{high:.3g}"]
    figure, image = figure_of({"layers": ["P4"], "score_threshold": 1.0})
    assert len(image.boxes_xyxy) == 0
    assert not figure.axes[1].patches
    assert not figure.axes[1].child_axes


def test_no_more_than_max_images_are_drawn(evaluated, capsys):
    write_params(SMALL | {"feature_maps.max_images": 2})
    feature_maps.main()
    assert list(pictures()) == NAMES[:2]
    assert "2 of 3 validation images drawn" in capsys.readouterr().out


def test_titles_are_not_clipped(evaluated):
    """White all around each picture: nothing is drawn up to its edge."""
    write_params(SMALL | {"feature_maps.layers": ["neck", "class_net.conv_rep.0.conv_pw"]})
    feature_maps.main()
    for name in NAMES:
        with Image.open(f"plots/feature_maps/{name}") as picture:
            pixels = np.asarray(picture.convert("L"))
        assert pixels[0].min() > 200
        assert pixels[:, 0].min() > 200
        assert pixels[:, -1].min() > 200
