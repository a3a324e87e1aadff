"""AP of a subset of the images against COCOeval run on that subset alone, AP by image, the confidence interval."""

import numpy as np
import pytest
from projects import found

from viadet.evaluation.average_precision import (
    ap_by_image,
    ap_interval,
    ap_of_all,
    ap_of_images,
    average_precision,
    rank_detections,
)
from viadet.evaluation.coco_metrics import evaluate_coco


def make_results(image_count, quality, seed=0, categories=2):
    """Images with two objects and two detections each; at quality 1 the boxes are equal."""
    random = np.random.default_rng(seed)
    images, annotations, results = [], [], []
    for image_id in range(1, image_count + 1):
        images.append({"id": image_id, "file_name": f"{image_id}.png", "width": 200, "height": 200})
        for _ in range(2):
            x, y, width, height = random.uniform((0, 0, 30, 30), (100, 100, 90, 90))
            category_id = int(random.integers(1, categories + 1))
            box = {"image_id": image_id, "category_id": category_id, "bbox": [x, y, width, height]}
            annotations.append({"id": len(annotations) + 1, "area": width * height, "iscrowd": 0} | box)
            shift = random.normal(0, (1 - quality) * 30, 2)
            results.append(box | {"bbox": [x + shift[0], y + shift[1], width, height], "score": random.uniform(0.1, 1)})
    names = [{"id": i, "name": str(i)} for i in range(1, categories + 1)]
    return {"images": images, "annotations": annotations, "categories": names}, results


def evaluate(coco, results):
    return evaluate_coco(coco, found(results))


def ap_of(metrics, image_indices):
    counts = np.bincount(image_indices, minlength=len(metrics.matches.image_ids))
    return ap_of_images(rank_detections(metrics.matches), counts)


def coco_ap(metrics):
    """COCOeval's AP before it is rounded."""
    return metrics.precision[metrics.precision > -1].mean()


def test_ap_of_all_images_equals_cocoevals_to_the_last_bit_with_tied_scores_too():
    coco, results = make_results(7, 0.8)
    results = [result | {"score": round(result["score"], 1)} for result in results]
    evaluation = evaluate(coco, results)
    assert 0.1 < coco_ap(evaluation) < 0.9
    assert ap_of(evaluation, np.arange(7)) == ap_of_all(evaluation.matches) == coco_ap(evaluation)


@pytest.mark.parametrize("chosen", [[2], [0, 4], [6, 1, 3]])
def test_ap_of_a_subset_equals_that_of_an_evaluation_of_the_subset_alone(chosen):
    coco, results = make_results(7, 0.7)
    ids = {index + 1 for index in chosen}
    subset = {**coco, "images": [image for image in coco["images"] if image["id"] in ids]}
    subset["annotations"] = [a for a in coco["annotations"] if a["image_id"] in ids]
    alone = evaluate(subset, [result for result in results if result["image_id"] in ids])
    evaluation = evaluate(coco, results)
    assert ap_of(evaluation, chosen) == coco_ap(alone)
    if len(chosen) == 1:
        assert ap_by_image(evaluation.matches)[chosen[0]] == coco_ap(alone)


def test_an_image_listed_twice_counts_twice():
    coco, results = make_results(2, 1.0, categories=1)
    results = [result for result in results if result["image_id"] == 1]  # none on the second
    evaluation = evaluate(coco, results)
    once, twice = (ap_of(evaluation, images) for images in ([0, 1], [0, 0, 1]))
    assert once == pytest.approx(51 / 101)  # recall 0 to 0.5 of 101 points
    assert twice == pytest.approx(67 / 101)  # recall up to 2/3


def test_images_without_objects_have_ap_minus_1():
    coco, results = make_results(2, 1.0, categories=1)
    coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] == 1]
    evaluation = evaluate(coco, results)
    assert ap_of(evaluation, [1]) == ap_by_image(evaluation.matches)[1] == -1


def test_the_interval_contains_ap_narrows_with_more_images_and_depends_on_the_seed_only():
    few, many = (evaluate(*make_results(image_count, 0.8, categories=1)) for image_count in (6, 60))
    low, high = ap_interval(few.matches, 200, seed=0)
    assert low < few.stats["bbox_mAP"] < high
    assert (low, high) == ap_interval(few.matches, 200, seed=0) != ap_interval(few.matches, 200, seed=1)
    narrow_low, narrow_high = ap_interval(many.matches, 200, seed=0)
    assert narrow_high - narrow_low < 0.6 * (high - low)


def test_perfect_detections_have_no_spread():
    assert ap_interval(evaluate(*make_results(5, 1.0)).matches, 20, seed=0) == (1.0, 1.0)


def test_without_any_object_the_interval_is_minus_1():
    coco, results = make_results(2, 1.0)
    assert ap_interval(evaluate(coco | {"annotations": []}, results).matches, 20, seed=0) == (-1.0, -1.0)


def test_without_hits_or_detections_ap_is_0():
    assert average_precision(np.empty(0, bool), 3) == average_precision(np.zeros(4, bool), 3) == 0
