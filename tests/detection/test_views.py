"""Test-time augmentation: sizes of the views, merging them, weighted boxes fusion by hand-made boxes."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from viadet.detection.detections import Detections
from viadet.detection.detector import Detector, detect_data_set, detect_plain
from viadet.detection.settings import DetectSettings
from viadet.detection.sized_network import SizedNetwork
from viadet.detection.views import FUSION_IOU, InputView, fuse_boxes, merge_views, scaled_wh, views_of
from viadet.network.weights import load_network
from viadet.project.files import read_json
from viadet.project.params import ViewsParams

CPU = torch.device("cpu")
WH = (128, 128)


def test_the_sides_of_a_view_are_multiples_of_32():
    assert [scaled_wh((512, 384), scale) for scale in (1.0, 0.5, 1.3)] == [(512, 384), (256, 192), (672, 512)]


def test_each_scale_is_a_view_plain_and_mirrored():
    params = ViewsParams(scales=[1.0, 2.0], flip=True, tiles=0, merge="wbf")
    both = [InputView((side, side), mirrored) for side in (128, 256) for mirrored in (False, True)]
    assert views_of(WH, params) == both
    assert views_of(WH, None) == [InputView(WH, mirrored=False)]


def detector_of(model, views):
    network, spec = load_network(model, CPU, WH)
    return Detector(network, spec, DetectSettings(WH, 0.4, 100, views))


@pytest.fixture(scope="module")
def coco(finished_sample):
    return read_json(finished_sample / "data/coco/val.json")


def test_a_single_unscaled_view_gives_the_plain_detections_and_a_mirrored_one_adds_to_them(
    coco, finished_sample, untrained_model
):
    found = {}
    for flip in (False, True):
        detector = detector_of(untrained_model, ViewsParams(scales=[1.0], flip=flip, tiles=0, merge="nms"))
        found[flip] = detect_data_set(detector, coco, finished_sample / "data/raw")
    for image_id, plain in found[False][0].items():
        np.testing.assert_array_equal(plain.boxes_xyxy, found[True][0][image_id].boxes_xyxy)
        single, both = (found[flip][1][image_id] for flip in (False, True))
        # Between the two NMS boxes are voted on, so that a few overlap more than before.
        assert 0.9 * len(plain) <= len(single) <= len(plain) > 30
        rows = set(map(tuple, plain.boxes_xyxy.tolist()))
        assert set(map(tuple, single.boxes_xyxy.tolist())) <= rows
        assert set(map(tuple, both.boxes_xyxy.tolist())) - rows


def test_each_distinct_input_passes_the_network_once_and_each_file_is_read_once(
    coco, finished_sample, untrained_model, monkeypatch
):
    passed, read = [], []
    detect, open_image = SizedNetwork.detect, Detector.detect_ahead

    def counted_detect(self, inputs, max_detections, mirrored):
        passed.extend([InputView(self.spec.input_wh, mirrored)] * len(inputs))
        return detect(self, inputs, max_detections, mirrored)

    def counted_ahead(self, images, views, pool):
        read.extend(images)
        return open_image(self, images, views, pool)

    monkeypatch.setattr(SizedNetwork, "detect", counted_detect)
    monkeypatch.setattr(Detector, "detect_ahead", counted_ahead)
    detector = detector_of(untrained_model, ViewsParams(scales=[1.0, 2.0], flip=True, tiles=0, merge="wbf"))
    detect_data_set(detector, coco, finished_sample / "data/raw")
    images = len(coco["images"])
    assert sorted(passed) == sorted([*views_of(WH, detector.settings.views)] * images)
    assert len(read) == images
    passed.clear()
    detect_plain(detector, coco, finished_sample / "data/raw")
    assert passed == detector.plain * images


def test_networks_for_several_sizes_share_their_weights_and_draw_no_random_numbers(untrained_model):
    network, spec = load_network(untrained_model, CPU, WH)
    sized, state = SizedNetwork(network, spec), torch.get_rng_state()
    larger = sized.resized((256, 128))
    assert torch.equal(torch.get_rng_state(), state)
    assert larger.spec.input_wh == (256, 128) and not larger.network.training
    pairs = zip(sized.network.state_dict().values(), larger.network.state_dict().values(), strict=True)
    assert all(one.data_ptr() == other.data_ptr() for one, other in pairs)
    expected, _ = load_network(untrained_model, CPU, (256, 128))
    images = torch.randn(1, 3, 128, 256, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for one, other in zip(larger.network(images)[0], expected(images)[0], strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


def detections(*rows):
    """Detections are (label, x, score, side), best first."""
    labels, xs, scores, sides = zip(*rows, strict=True) if rows else ((),) * 4
    boxes_xyxy = [[x, 0, x + side, side] for x, side in zip(xs, sides, strict=True)]
    return Detections(
        np.array(boxes_xyxy, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(labels, np.int64),
        ("cat", "dog"),
    )


def rows_of(merged):
    return [
        (label, round(float(box_xyxy[0]), 3), round(float(score), 3))
        for label, box_xyxy, score in zip(merged.labels.tolist(), merged.boxes_xyxy, merged.scores, strict=True)
    ]


def test_nms_keeps_the_best_of_overlapping_detections_for_each_category():
    first = detections((1, 0, 0.5, 10), (1, 30, 0.3, 10))
    second = detections((1, 1, 0.9, 10), (2, 1, 0.4, 10))
    expected = [(1, 1.0, 0.9), (2, 1.0, 0.4), (1, 30.0, 0.3)]
    assert rows_of(merge_views([first, second], "nms", 100)) == expected
    assert rows_of(merge_views([first, second], "nms", 2)) == expected[:2]
    assert rows_of(merge_views([detections()], "nms", 100)) == []


def test_wbf_averages_views_for_each_category():
    first, second = detections((1, 0, 0.8, 10)), detections((1, 2, 0.8, 10), (2, 2, 0.6, 10))
    merged = merge_views([first, second], "wbf", 100)
    assert rows_of(merged) == [(1, 1.0, 0.8), (2, 2.0, 0.3)]
    assert merged.names == ["cat", "dog"]
    assert len(merge_views([detections(), detections()], "wbf", 100)) == 0


def test_views_are_merged_unrounded():
    first, second = detections((1, 0.1234, 0.80004, 10)), detections((1, 0.1238, 0.80004, 10))
    merged = merge_views([first, second], "wbf", 100)
    assert merged.boxes_xyxy[0, 0] == pytest.approx(0.1236, abs=1e-6)
    assert merged.scores[0] == pytest.approx(0.80004, abs=1e-6)


def fuse(rows, views=2):
    """Fuse rows of (x0, y0, x1, y1, score, view)."""
    data = np.array(rows, dtype=float).reshape(-1, 6)
    boxes_xyxy, scores = fuse_boxes(data[:, :4], data[:, 4], data[:, 5].astype(int), views)
    return boxes_xyxy.tolist(), scores.tolist()


def test_boxes_that_agree_become_their_mean_by_score_and_the_mean_of_their_scores():
    boxes_xyxy, scores = fuse([(0, 0, 10, 10, 0.9, 0), (2, 0, 12, 10, 0.3, 1)])
    assert boxes_xyxy == [pytest.approx([0.5, 0, 10.5, 10])]
    assert scores == [pytest.approx(0.6)]


def test_a_box_that_one_of_two_views_finds_has_half_its_score():
    boxes_xyxy, scores = fuse([(0, 0, 10, 10, 0.9, 0), (50, 0, 60, 10, 0.8, 1), (50, 0, 60, 10, 0.6, 0)])
    assert boxes_xyxy == [pytest.approx([50, 0, 60, 10]), [0, 0, 10, 10]]
    assert scores == [pytest.approx(0.7), pytest.approx(0.45)]


def test_two_boxes_of_one_view_count_once():
    assert fuse([(0, 0, 10, 10, 0.8, 0), (1, 0, 11, 10, 0.8, 0)])[1] == [pytest.approx(0.4)]


def test_boxes_without_area_join_no_other_box():
    rows = [(5, 5, 5, 8, 0.9, 0), (5, 5, 5, 8, 0.8, 1), (0, 0, 10, 10, 0.7, 0), (0, 0, 10, 10, 0.6, 1)]
    boxes_xyxy, scores = fuse(rows)
    assert boxes_xyxy == [pytest.approx([0, 0, 10, 10]), [5, 5, 5, 8], [5, 5, 5, 8]]
    assert scores == [pytest.approx(0.65), pytest.approx(0.45), pytest.approx(0.4)]


def test_a_box_joins_the_fused_box_that_it_overlaps_most():
    rows = [(0, 0, 10, 10, 0.9, 0), (4, 0, 14, 10, 0.8, 0), (3, 0, 13, 10, 0.5, 1)]
    boxes_xyxy, _ = fuse(rows)
    assert boxes_xyxy[0] == pytest.approx([(4 * 0.8 + 3 * 0.5) / 1.3, 0, (14 * 0.8 + 13 * 0.5) / 1.3, 10])
    assert boxes_xyxy[1] == [0, 0, 10, 10]


def fused_box_by_box(boxes_xyxy, scores, views, view_count):
    """The same fusion with lists of members, averaged anew for each box: slow, but plain."""
    clusters, fused_xyxy = [], np.empty((0, 4))
    for index in np.argsort(-scores, kind="stable"):
        ious = np.nan_to_num(box_iou(torch.from_numpy(fused_xyxy), torch.from_numpy(boxes_xyxy[[index]])).numpy()[:, 0])
        if len(ious) and ious.max() > FUSION_IOU:
            members = clusters[ious.argmax()]
            members.append(index)
            fused_xyxy[ious.argmax()] = np.average(boxes_xyxy[members], axis=0, weights=scores[members])
        else:
            clusters.append([index])
            fused_xyxy = np.vstack([fused_xyxy, boxes_xyxy[index]])
    best = [[scores[of_view].max() for of_view in by_view(members, views)] for members in clusters]
    fused_scores = np.array([sum(values) for values in best]) / view_count
    order = np.argsort(-fused_scores, kind="stable")
    return fused_xyxy[order], fused_scores[order]


def by_view(members, views):
    return [[index for index in members if views[index] == view] for view in np.unique(views[members])]


@pytest.mark.parametrize("grid_px", [0, 20])  # of corners: equal boxes, equal overlaps, boxes without area
@pytest.mark.parametrize("count", [1, 2, 10, 60, 300])
def test_fusion_gives_what_averaging_the_members_of_each_box_gives(grid_px, count):
    rng = np.random.default_rng(count)
    for objects, view_count in ((1, 4), (3, 1), (count // 3 + 1, 4)):
        sides = rng.uniform(20, 200, (objects, 2))
        chosen = rng.integers(0, objects, count)
        low_xy = rng.uniform(0, 500, (objects, 2))[chosen] + rng.normal(0, 0.06, (count, 2)) * sides[chosen]
        boxes_xyxy = np.concatenate([low_xy, low_xy + sides[chosen] * rng.uniform(0.85, 1.15, (count, 2))], 1)
        scores = rng.uniform(0.001, 1, count)
        if grid_px:
            boxes_xyxy, scores = np.round(boxes_xyxy / grid_px) * grid_px, np.round(scores + 0.05, 1)
        arguments = boxes_xyxy, scores, rng.integers(0, view_count, count), view_count
        for ours, expected in zip(fuse_boxes(*arguments), fused_box_by_box(*arguments), strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=0)


def test_nothing_gives_nothing():
    assert fuse([]) == ([], [])


def test_boxes_join_above_the_iou_of_the_authors():
    # Boxes 10 px wide, moved by d px: their IoU is (10 - d) / (10 + d), 0.55 at 2.903 px.
    assert len(fuse([(0, 0, 10, 10, 0.9, 0), (2.90, 0, 12.90, 10, 0.9, 1)])[0]) == 1
    assert len(fuse([(0, 0, 10, 10, 0.9, 0), (2.91, 0, 12.91, 10, 0.9, 1)])[0]) == 2
