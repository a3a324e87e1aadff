"""Pictures of feature maps, drawn from made-up maps."""

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba

from viadet.explanation.feature_maps import ImageMaps, LayerMaps, value_ranges
from viadet.images.letterbox import InputImage, letterbox_of
from viadet.pictures.drawing import DETECTION
from viadet.pictures.feature_maps import draw_feature_maps
from viadet.project.params import FeatureMapsParams

STRIDES = {f"{group}{level}": 2**level for group, levels in (("C", (3, 4, 5)), ("P", range(3, 8))) for level in levels}
BOXES_XYXY = np.array([[10, 10, 40, 30], [50, 5, 90, 60]], np.float32)


def image_of(*groups, channels=()):
    """An image of 128 x 64 px with maps of layers, such as ["P3", "P4"], and two detections."""
    generator = torch.Generator().manual_seed(0)
    canvas = torch.randint(0, 256, (3, 128, 128), dtype=torch.uint8, generator=generator)

    def layer(title):
        size = 128 // STRIDES.get(title, 8)
        maps = torch.randn(max(1, len(channels)), size, size, generator=generator)
        return LayerMaps(title, maps, list(channels))

    input_image = InputImage(canvas, letterbox_of(128, 64, (128, 128)))
    return ImageMaps(input_image, BOXES_XYXY, [1, 2], [[layer(title) for title in group] for group in groups])


def drawn(image, reduction="mean", topk=(1, 1), overlay=0.55, colour_bar=False, names=("cat", "dog")):
    params = FeatureMapsParams(
        layers=["neck"],
        reduction=reduction,
        topk=list(topk),
        overlay=overlay,
        colour_bar=colour_bar,
        score_threshold=0.4,
        max_images=1,
    )
    return draw_feature_maps(image, value_ranges([image]), params, dict(enumerate(names, start=1)))


def titles_of(figure):
    return [ax.get_title() for ax in figure.axes]


def test_backbone_and_neck_stand_in_rows_of_their_own():
    levels = [["C3", "C4", "C5"], ["P3", "P4", "P5", "P6", "P7"]]
    figure = drawn(image_of(*levels))
    first, second = titles_of(figure)[:5], titles_of(figure)[5:]
    assert first == ["photograph, 2 detections", "C3, stride 8", "C4, stride 16", "C5, stride 32", ""]
    assert second == ["P3, stride 8", "P4, stride 16", "P5, stride 32", "P6, stride 64", "P7, stride 128"]


def test_layers_share_a_row_as_long_as_they_fit_and_a_large_group_takes_several():
    six = ["P3", "P4", "P5", "P6", "P7", "C3"]
    figure = drawn(image_of(["C3"], ["C4"], six, ["C5"]))
    cells = [title.split(",")[0] for title in titles_of(figure)]
    assert cells == ["photograph", "C3", "C4", "", "", *six, "C5", "", "", ""]


def test_the_strongest_channel_is_named_in_the_title():
    assert titles_of(drawn(image_of(["P4"], channels=[17]), "max"))[1] == "P4, stride 16, channel 17"


def test_topk_has_a_block_a_layer_in_the_given_arrangement():
    figure = drawn(image_of(["P4"], ["C5"], channels=[7, 3, 60, 1, 2, 0]), "topk", (2, 3))
    channels = [f"channel {channel}" for channel in (7, 3, 60, 1, 2, 0)]
    blocks = [[title, *channels[:3], "", *channels[3:]] for title in ("P4, stride 16", "C5, stride 32")]
    assert titles_of(figure) == blocks[0] + blocks[1]


def test_a_layer_with_fewer_channels_than_topk_leaves_cells_empty():
    figure = drawn(image_of(["P4"], channels=[7, 3]), "topk", (1, 3))
    assert titles_of(figure) == ["P4, stride 16", "channel 7", "channel 3", ""]


@pytest.mark.parametrize("colour_bar", [True, False])
def test_overlay_detections_and_colour_bar_are_drawn_as_asked(colour_bar):
    image = image_of(["P4"])
    _, ax = drawn(image, overlay=0.3, colour_bar=colour_bar).axes
    low, high = value_ranges([image])["P4"]
    photograph, heat = ax.images
    assert heat.get_alpha() == 0.3
    assert heat.get_clim() == (low, high)
    assert heat.get_array().shape == photograph.get_array().shape[:2] == (64, 128)
    assert len(ax.patches) == len(BOXES_XYXY)
    assert len(ax.child_axes) == colour_bar
    for bar in ax.child_axes:
        assert [text.get_text() for text in bar.get_xticklabels()] == [f"{low:.3g}", f"{high:.3g}"]


def test_classes_are_told_apart_by_colour_and_by_name_over_the_photograph():
    photograph, heat = drawn(image_of(["P4"])).axes
    assert [text.get_text() for text in photograph.texts] == ["cat", "dog"]
    colours = [patch.get_edgecolor() for patch in photograph.patches]
    assert len(set(colours)) == 2
    assert [patch.get_edgecolor() for patch in heat.patches] == colours
    assert not heat.texts


def test_a_single_class_has_one_colour_and_no_name():
    photograph, heat = drawn(image_of(["P4"])._replace(labels=[1, 1]), names=("cat",)).axes
    assert not photograph.texts
    assert {patch.get_edgecolor() for patch in [*photograph.patches, *heat.patches]} == {to_rgba(DETECTION)}


def test_titles_are_not_clipped():
    """White all around the picture: nothing is drawn up to its edge."""
    long_titles = [f"class_net.conv_rep.0.conv_pw [{level}]" for level in range(5)]
    canvas = FigureCanvasAgg(drawn(image_of(["P3", "P4", "P5", "P6", "P7"], long_titles)))
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert edge.min() > 200
