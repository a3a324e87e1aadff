"""Test-time augmentation: sizes of the views, merging them."""

import math

import pytest
import torch
from viadet.evaluation.augmented_detection import View, detect_views, merge_views, view_sizes_wh
from viadet.network.detect import detect_coco

from viadet.network.weights import load_network
from viadet.project.files import read_json
from viadet.project.params import ViewsParams

CPU = torch.device("cpu")
ALL = (0.0, math.inf)


def views_params(**changes):
    return ViewsParams(**{"scales": [1.0], "flip": False, "merge": "wbf", "sides": None} | changes)


def detection(image_id, category_id, x, score, side=10):
    return {"image_id": image_id, "category_id": category_id, "bbox": [x, 0, side, side], "score": score}


def test_the_sides_of_a_view_are_multiples_of_32():
    assert view_sizes_wh((512, 384), [1.0, 0.5, 1.3]) == [(512, 384), (256, 192), (672, 512)]


def test_a_single_unscaled_view_gives_the_plain_detections_and_a_mirrored_one_adds_to_them(
    finished_sample, untrained_model
):
    coco, image_dir = read_json(finished_sample / "data/coco/val.json"), finished_sample / "data/raw"
    network, spec = load_network(untrained_model, CPU, (128, 128))
    plain = detect_coco(network, spec, coco, image_dir, CPU)
    single, both = (
        detect_views(untrained_model, coco, image_dir, views_params(flip=flip, merge="nms"), (128, 128), CPU, 100)
        for flip in (False, True)
    )
    # Between the two NMS boxes are voted on and rounded, so that a few overlap more than before.
    assert 0.9 * len(plain) <= len(single) <= len(plain) > 100
    assert all(result in plain for result in single)
    assert any(result not in plain for result in both)


IMAGE = {"width": 100, "height": 50}
COCO = {"images": [{"id": 1} | IMAGE, {"id": 2} | IMAGE]}


def test_nms_keeps_the_best_of_overlapping_detections_for_each_category_and_image():
    results = [
        detection(1, 1, 0, 0.5),
        detection(1, 1, 1, 0.9),
        detection(1, 2, 1, 0.4),
        detection(1, 1, 30, 0.3),
        detection(2, 1, 0, 0.2),
    ]
    views = [View((100, 100), ALL, results[::2]), View((200, 200), ALL, results[1::2])]
    assert merge_views(COCO, views, "nms", 100) == results[1:]
    assert merge_views(COCO, views, "nms", 2) == [results[1], results[2], results[4]]
    assert merge_views(COCO, [View((100, 100), ALL, [])], "nms", 100) == []


def test_wbf_averages_views_for_each_category_and_image():
    first = [detection(1, 1, 0, 0.8), detection(2, 1, 0, 0.4)]
    second = [detection(1, 1, 2, 0.8), detection(1, 2, 2, 0.6)]
    views = [View((100, 100), ALL, first), View((200, 200), ALL, second)]
    assert merge_views(COCO, views, "wbf", 100) == [
        detection(1, 1, 1, 0.8) | {"bbox": [1, 0, 10, 10]},
        detection(1, 2, 2, 0.3),
        detection(2, 1, 0, 0.2),
    ]


def test_a_view_counts_only_for_its_sizes():
    """In the second view boxes are twice as large: 20 px are asked of both, 60 px of the first alone."""
    views = [
        View((100, 100), (15.0, math.inf), [detection(1, 1, 0, 0.9, side=10), detection(1, 1, 30, 0.8, side=60)]),
        View((200, 200), (0.0, 60.0), [detection(1, 1, 0, 0.6, side=20), detection(1, 1, 30, 0.5, side=60)]),
    ]
    merged = merge_views(COCO, views, "wbf", 100)
    assert [(round(result["score"], 3), result["bbox"][2]) for result in merged] == [(0.8, 60), (0.3, 20)]
    assert [result["bbox"][2] for result in merge_views(COCO, views, "nms", 100)] == [60, 20]


def test_there_is_a_range_of_sides_for_each_scale():
    with pytest.raises(ValueError, match="sides has 1 ranges for 2 scales"):
        views_params(scales=[1.0, 2.0], sides=[[0.0, 1.0]])
