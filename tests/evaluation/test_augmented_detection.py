"""Test-time augmentation: sizes of the views, merging them."""

import torch

from viadet.evaluation.augmented_detection import detect_views, merge_views, view_sizes_wh
from viadet.network.detect import detect_coco
from viadet.network.weights import load_network
from viadet.project.files import read_json
from viadet.project.params import ViewsParams

CPU = torch.device("cpu")


def test_the_sides_of_a_view_are_multiples_of_32():
    assert view_sizes_wh((512, 384), [1.0, 0.5, 1.3]) == [(512, 384), (256, 192), (672, 512)]


def test_a_single_unscaled_view_gives_the_plain_detections_and_a_mirrored_one_adds_to_them(
    finished_sample, untrained_model
):
    coco, image_dir = read_json(finished_sample / "data/coco/val.json"), finished_sample / "data/raw"
    network, spec = load_network(untrained_model, CPU, (128, 128))
    plain = detect_coco(network, spec, coco, image_dir, CPU)
    single, both = (
        detect_views(untrained_model, coco, image_dir, ViewsParams(scales=[1.0], flip=flip), (128, 128), CPU)
        for flip in (False, True)
    )
    # Boxes are rounded between the two NMS, so that one at the very threshold may be lost.
    assert len(plain) - 5 <= len(single) <= len(plain) > 100
    assert all(result in plain for result in single)
    assert any(result not in plain for result in both)


def test_the_best_of_overlapping_detections_is_kept_for_each_category_and_image():
    def detection(image_id, category_id, x, score):
        return {"image_id": image_id, "category_id": category_id, "bbox": [x, 0, 10, 10], "score": score}

    coco = {"images": [{"id": 1}, {"id": 2}]}
    results = [
        detection(1, 1, 0, 0.5),
        detection(1, 1, 1, 0.9),
        detection(1, 2, 1, 0.4),
        detection(1, 1, 30, 0.3),
        detection(2, 1, 0, 0.2),
    ]
    assert merge_views(coco, results) == results[1:]
    assert merge_views(coco, []) == []
