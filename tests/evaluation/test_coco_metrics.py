"""COCO metrics, matches and curves of three images, small enough to calculate by hand."""

import copy
import tracemalloc

import numpy as np
import pytest
from projects import found
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from viadet.evaluation.coco_metrics import evaluate_coco
from viadet.evaluation.curves import ap_by_iou_rows, class_rows, image_rows, precision_recall_rows
from viadet.evaluation.matches import MatchCounts, precision_recall_f1
from viadet.evaluation.summary import map_with_ids_from_0

BOXES = {1: [[10, 10, 20, 20], [50, 50, 40, 40]], 2: [[0, 0, 100, 100]], 3: []}  # xywh by image


def ground_truth():
    annotations = [
        {"image_id": image_id, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for image_id, boxes in BOXES.items()
        for box in boxes
    ]
    return {
        "images": [{"id": image_id, "width": 128, "height": 128, "file_name": f"{image_id}.png"} for image_id in BOXES],
        "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations, start=1)],
        "categories": [{"id": 1, "name": "balloon"}],
    }


def detections(*rows):
    return [{"image_id": i, "category_id": 1, "bbox": box, "score": score} for i, box, score in rows]


def evaluate(coco, results, limit=100):
    return evaluate_coco(coco, found(results), limit)


def stats_of(coco, results, limit=100):
    return evaluate(coco, results, limit).stats


def counts_by_image(coco, results, threshold):
    return evaluate(coco, results).matches.above(threshold).counts_by_image()


def random_boxes(categories=1, images=4, objects=15, found=60, crowds=False):
    """Objects of all sizes and detections beside them, some of equal scores, IoUs or boxes."""
    random = np.random.default_rng(0)
    coco = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": str(i)} for i in range(1, categories + 1)],
    }
    results = []
    for image_id in range(1, images + 1):
        coco["images"].append({"id": image_id, "file_name": f"{image_id}.png", "width": 400, "height": 400})
        boxes = random.uniform((0, 0, 5, 5), (200, 200, 150, 150), (objects, 4)).round()
        boxes[1], boxes[3] = boxes[0], boxes[2]
        for number, (box, category) in enumerate(zip(boxes, random.integers(1, categories + 1, objects), strict=True)):
            entry = {"image_id": image_id, "category_id": int(category), "bbox": box.tolist()}
            size = {"area": box[2] * box[3] * 0.7, "iscrowd": int(crowds and number == 5)}
            coco["annotations"].append({"id": len(coco["annotations"]) + 1} | entry | size)
        for box in boxes[random.integers(0, objects, found)] + random.integers(-6, 7, (found, 4)) * (1, 1, 0, 0):
            entry = {"image_id": image_id, "category_id": int(random.integers(1, categories + 1)), "bbox": box.tolist()}
            results.append(entry | {"score": round(float(random.random()), 1)})
    return coco, results


def plain_cocoeval(coco, results, max_detections=100):
    truth = COCO()
    truth.dataset = copy.deepcopy(coco)
    truth.createIndex()
    boxes = truth.loadRes(copy.deepcopy(results))
    evaluation = COCOeval(truth, boxes, iouType="bbox")
    evaluation.params.maxDets[-1] = max_detections
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


@pytest.mark.parametrize(("categories", "limit"), [(1, 100), (3, 100), (1, 20)])
def test_figures_and_matches_equal_those_of_pycocotools(categories, limit):
    coco, results = random_boxes(categories, crowds=True)
    ours, plain = evaluate(coco, results, limit), plain_cocoeval(coco, results, limit)
    for name, index in (("precision", np.s_[:, :, :, 0, -1]), ("recall", np.s_[:, :, 0, -1])):
        np.testing.assert_array_equal(getattr(ours, name), plain.eval[name][index])
    assert list(ours.stats.values())[1:] == [round(value, 4) for value in plain.stats[1:].tolist()]
    matches = ours.matches
    entries = [entry for entry in plain.evalImgs if entry is not None and entry["aRng"] == plain.params.areaRng[0]]
    for entry in entries:
        image, category = entry["image_id"] - 1, entry["category_id"] - 1
        rows = matches.rows[(matches.rows["image"] == image) & (matches.rows["category"] == category)]
        np.testing.assert_array_equal(rows["hits"].T, entry["dtMatches"])
        np.testing.assert_array_equal(rows["score"], entry["dtScores"])
        assert matches.object_counts[image, category] == len(entry["gtIds"])
    assert len(matches.rows) == sum(len(entry["dtIds"]) for entry in entries)
    assert 0.1 < ours.recall.mean() < 0.9


PERFECT = detections(*((i, box, 0.9) for i, boxes in BOXES.items() for box in boxes))


def test_perfect_detections_score_exactly_1_at_every_size():
    stats = stats_of(ground_truth(), PERFECT)
    # 20² is small, 40² medium, 100² large
    assert [stats[name] for name in ("bbox_mAP", "bbox_mAP_s", "bbox_mAP_m", "bbox_mAP_l", "AR_100")] == [1.0] * 5


def test_without_detections_all_metrics_are_0():
    stats = stats_of(ground_truth(), [])
    assert stats["bbox_mAP"] == 0.0
    assert precision_recall_f1(list(counts_by_image(ground_truth(), [], 0.5).values())) == {
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
    }


def test_a_size_without_ground_truth_is_minus_1():
    coco = ground_truth()
    coco["annotations"] = [a for a in coco["annotations"] if a["area"] > 32**2]
    assert stats_of(coco, PERFECT)["bbox_mAP_s"] == -1


@pytest.mark.parametrize(("coco", "results"), [(ground_truth(), PERFECT), random_boxes(categories=2)])
def test_with_ids_from_0_cocoeval_loses_the_first_object(coco, results):
    from_0 = coco | {"annotations": [annotation | {"id": annotation["id"] - 1} for annotation in coco["annotations"]]}
    expected = round(float(plain_cocoeval(from_0, results).stats[0]), 4)
    assert map_with_ids_from_0(evaluate(coco, results).matches) == expected
    assert expected < (0.7 if results is PERFECT else 1)


def test_matches_are_counted_by_image_above_the_threshold():
    results = detections(
        (1, [10, 10, 20, 20], 0.9),  # right
        (1, [11, 11, 20, 20], 0.8),  # a duplicate of it: wrong
        (1, [50, 50, 40, 40], 0.3),  # right, but below the threshold, so missed
        (2, [0, 0, 100, 45], 0.7),  # IoU 0.45: wrong
        (3, [5, 5, 9, 9], 0.6),  # no object there: wrong
    )
    counts = counts_by_image(ground_truth(), results, 0.5)
    assert counts == {1: MatchCounts(1, 1, 1), 2: MatchCounts(0, 1, 1), 3: MatchCounts(0, 1, 0)}
    # precision 1 / 4, recall 1 / 3, F1 2 * 1/4 * 1/3 / (7/12) = 2/7
    assert precision_recall_f1(list(counts.values())) == {"precision": 0.25, "recall": 0.3333, "f1": 0.2857}


def test_each_true_positive_is_mapped_to_its_annotation():
    results = detections(
        (2, [0, 0, 100, 45], 0.7),  # IoU 0.45: wrong
        (1, [50, 50, 40, 40], 0.3),  # the second annotation
        (1, [11, 11, 20, 20], 0.8),  # a duplicate of the next, which scores higher
        (1, [10, 10, 20, 20], 0.9),  # the first annotation
    )
    matches = evaluate(ground_truth(), results).matches
    rows = zip(matches.rows["image"].tolist(), matches.rows["rank"].tolist(), matches.hits_50.tolist(), strict=True)
    # by image, in it the best first
    assert list(rows) == [(0, 0, 1), (0, 1, 0), (0, 2, 2), (1, 0, 0)]
    assert len(evaluate(ground_truth(), []).matches.rows) == 0


def test_precision_has_101_recalls_and_a_column_for_each_iou():
    results = detections((1, [10, 10, 20, 20], 0.9), (2, [0, 0, 100, 60], 0.8))
    rows = precision_recall_rows(evaluate(ground_truth(), results), (0.5, 0.75))
    assert len(rows) == 101
    assert [row["recall"] for row in rows[:2]] == pytest.approx([0, 0.01])
    # two of three objects detected at IoU 0.5 (the second with 0.6), one of three at 0.75
    assert sum(row["precision_50"] > 0.999 for row in rows) == 67
    assert sum(row["precision_75"] > 0.999 for row in rows) == 34
    assert np.all(np.array([row["precision_50"] for row in rows[67:]]) == 0)


def test_categories_without_ground_truth_are_left_out_of_all_curves():
    several = ground_truth()
    several["categories"] += [{"id": 2, "name": "kite"}, {"id": 3, "name": "bird"}]
    results = [*detections((1, [10, 10, 20, 20], 0.9)), detections((2, [0, 0, 9, 9], 0.8))[0] | {"category_id": 3}]
    one, evaluation = evaluate(ground_truth(), results[:1]), evaluate(several, results)
    assert precision_recall_rows(evaluation, (0.5, 0.9)) == precision_recall_rows(one, (0.5, 0.9))
    assert ap_by_iou_rows(evaluation) == ap_by_iou_rows(one)


def test_ap_by_iou_is_calculated_at_each_threshold():
    results = detections((1, [10, 10, 20, 20], 0.9), (2, [0, 0, 100, 60], 0.8))
    rows = ap_by_iou_rows(evaluate(ground_truth(), results))
    assert [row["iou"] for row in rows] == pytest.approx([0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])
    assert [row["recall"] for row in rows] == pytest.approx([2 / 3] * 3 + [1 / 3] * 7)
    assert [row["AP"] for row in rows] == pytest.approx([67 / 101] * 3 + [34 / 101] * 7)


def test_images_are_listed_by_ap_with_their_counts():
    results = detections((1, [10, 10, 20, 20], 0.9), (2, [0, 0, 100, 100], 0.8), (2, [5, 5, 9, 9], 0.7))
    evaluation = evaluate(ground_truth(), results)
    rows = image_rows(ground_truth(), evaluation, 0.5)
    columns = ("image", "AP", "objects", "right", "wrong")
    assert [tuple(row[column] for column in columns) for row in rows] == [
        ("3.png", -1.0, 0, 0, 0),  # no object
        ("1.png", 0.505, 2, 1, 0),  # 51 of 101 recalls
        ("2.png", 1.0, 1, 1, 1),
    ]


def test_classes_are_listed_in_order_with_ap_and_counts():
    coco = ground_truth()
    coco["categories"] += [{"id": 2, "name": "kite"}, {"id": 3, "name": "bird"}]
    coco["annotations"][2]["category_id"] = 2
    results = detections(
        (1, [10, 10, 20, 20], 0.9), (1, [0, 0, 9, 9], 0.8), (2, [0, 0, 100, 60], 0.7), (3, [1, 1, 5, 5], 0.3)
    )
    results[2]["category_id"] = 2
    evaluation = evaluate(coco, results)
    balloon, kite, bird = class_rows(coco, evaluation, 0.5)
    assert balloon == {
        "class": "balloon",
        "objects": 2,
        "AP": 0.505,  # 51 of 101 recalls
        "AP_50": 0.505,
        "AP_75": 0.505,
        "right": 1,
        "wrong": 1,
        "missed": 1,
    }
    assert list(kite.values()) == ["kite", 1, 0.3, 1.0, 0.0, 1, 0, 0]  # IoU 0.6: right at 3 of 10 thresholds
    assert list(bird.values()) == ["bird", 0, -1.0, -1.0, -1.0, 0, 0, 0]


def crowd(count):
    """An image with so many objects, each of them detected."""
    boxes = [[12 * (i % 20), 12 * (i // 20), 10, 10] for i in range(count)]
    objects = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": b, "area": 100, "iscrowd": 0} for i, b in enumerate(boxes, 1)
    ]
    coco = ground_truth() | {"annotations": objects}
    return coco, detections(*((1, box, 0.5 + i / 1000) for i, box in enumerate(boxes)))


def test_more_objects_than_max_detections_lower_ap_until_it_is_raised():
    coco, results = crowd(150)
    at_100, at_200 = (stats_of(coco, results, limit) for limit in (100, 200))
    assert at_100["bbox_mAP"] == pytest.approx(67 / 101, abs=1e-4)  # recall up to 100 / 150
    assert at_100["AR_100"] == pytest.approx(2 / 3, abs=1e-4)
    assert at_200["bbox_mAP"] == at_200["AR_200"] == 1
    assert "AR_100" not in at_200
    assert map_with_ids_from_0(evaluate(coco, results, 200).matches) > 0.9
    assert stats_of(*crowd(600), 600)["bbox_mAP"] == 1


def test_metrics_of_few_objects_do_not_depend_on_max_detections():
    results = detections((1, [10, 10, 20, 20], 0.9), (2, [0, 0, 100, 60], 0.8))
    at_100, at_200 = (stats_of(ground_truth(), results, limit) for limit in (100, 200))
    assert list(at_100.values()) == list(at_200.values())
    assert stats_of(ground_truth() | {"annotations": []}, results, 200)["bbox_mAP"] == -1


def test_a_detection_takes_less_than_a_kilobyte_of_memory():
    coco, results = random_boxes(images=200, objects=5, found=100)
    boxes = found(results)
    tracemalloc.start()
    try:
        evaluate_coco(coco, boxes)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(results) == 20_000
    assert peak_bytes < 1000 * len(results)  # 720 of each, where most of them overlap objects; with copies 1400


def test_the_callers_data_are_left_unchanged():
    coco, results = ground_truth(), copy.deepcopy(PERFECT)
    map_with_ids_from_0(evaluate(coco, results).matches)
    assert coco == ground_truth()
    assert results == PERFECT
