"""Tiles as views: what is cut off or too small in a view has no say in it, and what comes of a real network."""

import numpy as np
import pytest
import torch

from viadet.detection.detections import Detections
from viadet.detection.detector import Detector
from viadet.detection.settings import DetectSettings
from viadet.detection.views import InputView, Sight, join_tiles, merge_views, views_of
from viadet.images.tiles import tiles_of
from viadet.network.weights import load_network
from viadet.project.params import ViewsParams

SIZE_WH = (1000, 800)
WHOLE, TILED = InputView((256, 256), mirrored=False), InputView((256, 256), mirrored=False, tiles=3)
# tiles of 400 x 320 px that begin at 0, 300 and 600 px, and at 0, 240 and 480 px


def found(*rows):
    """Make detections of (x0, y0, x1, y1, score) of one category, best first."""
    data = np.array(rows, np.float32).reshape(-1, 5)
    return Detections(data[:, :4], data[:, 4], np.ones(len(data), np.int64), ("balloon",))


def rows_of(detections):
    boxes_xyxy, scores = detections.boxes_xyxy.round(1).tolist(), detections.scores.round(3).tolist()
    return [(*box_xyxy, score) for box_xyxy, score in zip(boxes_xyxy, scores, strict=True)]


def in_tiles(**by_number):
    """Make the detections of the nine tiles; those not named are empty."""
    return [by_number.get(f"tile_{number}", found()) for number in range(9)]


def test_tiles_are_views_beside_the_whole_image_at_its_own_scale():
    params = ViewsParams(scales=[0.5, 1.0], flip=True, tiles=3, merge="wbf")
    views = views_of((256, 256), params)
    assert views[:4] == views_of((256, 256), params.model_copy(update={"tiles": 0}))
    assert views[4:] == [TILED, TILED._replace(mirrored=True)]


def test_boxes_of_tiles_lie_in_the_image_and_those_that_a_tile_cuts_off_are_left_out():
    joined = join_tiles(
        in_tiles(
            tile_0=found((0, 0, 50, 60, 0.9), (350, 100, 399, 150, 0.8)),  # at the image's edge, at the tile's
            tile_1=found((50, 100, 110, 150, 0.7), (1, 200, 30, 250, 0.6)),
            tile_8=found((350, 250, 400, 320, 0.5)),
        ),
        SIZE_WH,
        TILED,
    )
    assert rows_of(joined) == [
        (0, 0, 50, 60, pytest.approx(0.9)),
        (350, 100, 410, 150, pytest.approx(0.7)),
        (950, 730, 1000, 800, pytest.approx(0.5)),
    ]


def test_each_box_is_shown_by_the_views_that_hold_it_whole_and_large_enough():
    boxes_xyxy = [
        [10, 10, 40, 40],  # 8 px in the whole image's input
        [10, 10, 110, 110],
        [100, 100, 700, 500],  # larger than a tile
        [390, 10, 399, 19],  # tiny, cut off by the first tile, whole in the second
    ]
    shown = Sight(SIZE_WH, [WHOLE, TILED]).shown(np.array(boxes_xyxy, np.float32))
    assert shown.tolist() == [[False, True, True, False], [True, True, False, True]]


@pytest.mark.parametrize("merge", ["wbf", "nms"])
def test_a_view_has_no_say_in_what_it_cannot_show(merge):
    small, large, both = (10, 10, 40, 40), (100, 100, 700, 500), (800, 100, 900, 200)
    whole = found((*large, 0.9), (*both, 0.8), (*small, 0.7), (500, 600, 520, 620, 0.6))
    tiled = found((*both, 0.4), (*small, 0.3))
    merged = merge_views([whole, tiled], merge, 100, Sight(SIZE_WH, [WHOLE, TILED]))
    of_both = {"wbf": 0.6, "nms": 0.8}[merge]
    expected = [(*large, 0.9), (*both, of_both), (*small, 0.3)]
    assert rows_of(merged) == [pytest.approx(row) for row in expected]


def test_an_object_that_two_tiles_show_whole_counts_once():
    tiled = join_tiles(
        in_tiles(tile_0=found((310, 20, 390, 100, 0.8)), tile_1=found((10, 20, 90, 100, 0.6))), SIZE_WH, TILED
    )
    assert len(tiled) == 2
    merged = merge_views([found(), tiled], "wbf", 100, Sight(SIZE_WH, [WHOLE, TILED]))
    assert rows_of(merged) == [(310, 20, 390, 100, pytest.approx(0.4))]


@pytest.fixture(scope="module")
def photograph():
    return np.random.default_rng(0).integers(0, 256, (200, 320, 3)).astype(np.uint8)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_detector_finds_in_tiles_what_it_finds_in_the_parts_of_the_photograph(untrained_model, photograph, mirrored):
    network, spec = load_network(untrained_model, torch.device("cpu"), (128, 128))
    view = InputView((128, 128), mirrored, tiles=2)
    detector = Detector(network, spec, DetectSettings((128, 128), 0.0, 100, None))
    (image,) = detector.detect_all([photograph], [view])
    assert image.size_wh == (320, 200)
    parts = []
    for tile in tiles_of((320, 200), 2):
        part = photograph[tile.top : tile.bottom, tile.left : tile.right]
        (of_part,) = detector.detect_all([part], [view._replace(tiles=1)])
        parts.append(*of_part.by_view.values())
    expected = join_tiles(parts, (320, 200), view)
    joined = image.by_view[view]
    assert 0 < len(joined) < sum(map(len, parts))
    np.testing.assert_allclose(joined.boxes_xyxy, expected.boxes_xyxy, atol=1e-3)
    np.testing.assert_allclose(joined.scores, expected.scores, atol=1e-5)


def test_an_image_and_its_tiles_pass_the_network_a_few_at_a_time(untrained_model, photograph, monkeypatch):
    """However many tiles there are, no more photographs are prepared at once than before, and fewer in a batch."""
    network, spec = load_network(untrained_model, torch.device("cpu"), (128, 128))
    views = ViewsParams(scales=[1.0], flip=True, tiles=4, merge="wbf")
    detector = Detector(network, spec, DetectSettings((128, 128), 0.0, 50, views))
    assert detector.batch_size == 1
    sizes = []
    detect = detector.models[0].detect
    monkeypatch.setattr(
        detector.models[0], "detect", lambda inputs, *rest: sizes.append(len(inputs)) or detect(inputs, *rest)
    )
    assert len(detector(photograph)) == 50
    assert sum(sizes) == 2 * (1 + 16) and max(sizes) <= 8
