"""Outputs of layers, found by name."""

import pytest
import torch

from viadet.explanation.layers import layer_outputs
from viadet.explanation.maps import enlarge_to_photograph
from viadet.images.letterbox import letterbox_image, letterbox_of
from viadet.network.build import prepare_images
from viadet.project.errors import UserError


def to_batch(image, spec):
    canvas, _ = letterbox_image(image, spec.input_wh, spec.fill_rgb)
    return prepare_images(canvas[None], spec, torch.device("cpu"))


def test_the_network_sees_a_bright_square_where_it_is(network, spec):
    image = torch.zeros(3, 100, 200, dtype=torch.uint8)
    (((_, dark),),) = layer_outputs(network, to_batch(image, spec), ["C3"])
    image[:, 70:90, 160:180] = 255
    (((_, bright),),) = layer_outputs(network, to_batch(image, spec), ["C3"])
    # stride 8, where a cell sees little else; px of the input, scaled by 128 / 200
    change = enlarge_to_photograph((bright - dark).abs().mean(0), letterbox_of(200, 100, (128, 128)))
    y, x = divmod(int(change.argmax()), change.shape[1])
    assert 160 - 20 <= x * 200 / 128 <= 180 + 20
    assert 70 - 20 <= y * 200 / 128 <= 90 + 20


def test_layers_are_found_by_group_level_and_path(network, forward_pass):
    names = ["backbone", "neck", "P4", "C5", "backbone.blocks.2", "class_net.predict"]
    outputs = layer_outputs(network, forward_pass.batch, names)
    titles = [[title for title, _ in layers] for layers in outputs]
    assert titles == [
        ["C3", "C4", "C5"],
        ["P3", "P4", "P5", "P6", "P7"],
        ["P4"],
        ["C5"],
        ["backbone.blocks.2"],
        [f"class_net.predict [{level}]" for level in range(5)],
    ]
    features, pyramid = forward_pass.features, [level.detach() for level in forward_pass.pyramid]
    expected_outputs = [*features, *pyramid, pyramid[1], features[2]]
    found_outputs = [output for layers in outputs[:4] for _, output in layers]
    for output, expected in zip(found_outputs, expected_outputs, strict=True):
        torch.testing.assert_close(output, expected[0])
    assert [output.shape[1] for _, output in outputs[5]] == [16, 8, 4, 2, 1]
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
def test_an_unknown_layer_lists_the_valid_ones(network, forward_pass, name, message):
    with pytest.raises(UserError) as error:
        layer_outputs(network, forward_pass.batch, [name])
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not any(module._forward_hooks for module in network.modules())
