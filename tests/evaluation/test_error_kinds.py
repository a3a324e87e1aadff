"""Kinds of errors and their cost, on scenes small enough to reckon by hand."""

import numpy as np
import pytest

from viadet.evaluation.coco_metrics import coco_stats, run_cocoeval
from viadet.evaluation.error_kinds import KINDS, ap50_without, average_precision, error_rows, find_errors
from viadet.evaluation.matching import matched_annotations

SQUARE = [100, 100, 100, 100]
ELSEWHERE = [400, 400, 50, 50]


def scene(*objects):
    """One image; objects are (category, xywh)."""
    annotations = [
        {"id": i, "image_id": 1, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for i, (category, box) in enumerate(objects, start=1)
    ]
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 600, "height": 600}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def detections(*found):
    """Detections are (category, xywh, score)."""
    return [{"image_id": 1, "category_id": c, "bbox": box, "score": score} for c, box, score in found]


def matched(coco, results):
    return matched_annotations(run_cocoeval(coco, results))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(1, SQUARE, 0.9)], []),
        ([], ["missed"]),
        ([(2, SQUARE, 0.9)], ["class"]),
        ([(1, [160, 100, 100, 100], 0.9)], ["localisation"]),  # IoU 0.25
        ([(2, [160, 100, 100, 100], 0.9)], ["both", "missed"]),
        ([(1, SQUARE, 0.9), (1, SQUARE, 0.8)], ["duplicate"]),
        ([(1, SQUARE, 0.9), (1, ELSEWHERE, 0.8)], ["background"]),
        ([(1, [190, 100, 100, 100], 0.9)], ["background", "missed"]),  # IoU 0.05
    ],
)
def test_each_kind_is_told_by_class_overlap_and_what_is_taken(found, expected):
    coco, results = scene((1, SQUARE)), detections(*found)
    assert [error.kind for error in find_errors(coco, results, matched(coco, results))] == expected


def test_without_errors_of_a_kind_ap_is_what_it_would_be():
    # The background at 0.9 ranks above the hit at 0.8; the second object has a loose box only; the third none at all.
    coco = scene((1, SQUARE), (1, [300, 100, 100, 100]), (1, [100, 300, 100, 100]))
    results = detections((1, ELSEWHERE, 0.9), (1, SQUARE, 0.8), (1, [360, 100, 100, 100], 0.7))
    found = matched(coco, results)
    errors = find_errors(coco, results, found)
    assert [error.kind for error in errors] == ["background", "localisation", "missed"]
    at_recalls = [34, 67, 101]  # of COCO's 101 recalls, how many lie at or below 1/3, 2/3 and 1
    reckoned = {
        None: 34 * (1 / 2),
        "background": 34 * 1,
        "localisation": 67 * (2 / 3),
        "missed": 51 * (1 / 2),  # one of two objects found
        "class": 34 * (1 / 2),
    }
    assert at_recalls == [int(np.sum(np.linspace(0, 1, 101) <= k / 3 + 1e-9)) for k in (1, 2, 3)]
    for kind, total in reckoned.items():
        assert ap50_without(kind, errors, coco, results, found) == pytest.approx(total / 101), kind


def test_a_wrong_class_set_right_counts_for_the_right_class():
    coco = scene((1, SQUARE), (2, [300, 300, 80, 80]))
    results = detections((2, SQUARE, 0.9), (2, [300, 300, 80, 80], 0.8))
    found = matched(coco, results)
    errors = find_errors(coco, results, found)
    assert ap50_without(None, errors, coco, results, found) == pytest.approx((0 + 0.5) / 2)
    assert ap50_without("class", errors, coco, results, found) == pytest.approx(1)


def test_of_two_loose_boxes_the_better_scored_is_set_right_and_the_other_goes():
    coco = scene((1, SQUARE))
    results = detections((1, [160, 100, 100, 100], 0.6), (1, [100, 160, 100, 100], 0.9), (1, ELSEWHERE, 0.7))
    found = matched(coco, results)
    errors = find_errors(coco, results, found)
    assert ap50_without("localisation", errors, coco, results, found) == pytest.approx(1)


def test_average_precision_is_cocoevals():
    rng = np.random.default_rng(0)
    boxes = [[int(x), int(y), 40, 40] for x, y in rng.integers(0, 500, (30, 2))]
    coco = scene(*((1 + i % 2, box) for i, box in enumerate(boxes)))
    jitter = rng.integers(-14, 15, (60, 2))
    results = detections(
        *(
            (1 + i % 2, [boxes[i % 30][0] + int(dx), boxes[i % 30][1] + int(dy), 40, 40], round(float(score), 3))
            for i, ((dx, dy), score) in enumerate(zip(jitter, rng.random(60), strict=True))
        )
    )
    evaluation = run_cocoeval(coco, results)
    found = matched_annotations(evaluation)
    ap50 = ap50_without(None, find_errors(coco, results, found), coco, results, found)
    assert 0.1 < ap50 < 0.9
    assert round(ap50, 4) == coco_stats(evaluation)["bbox_mAP_50"]
    assert average_precision([], [], 3) == 0


def test_rows_count_at_the_threshold_but_cost_by_all_detections():
    coco = scene((1, SQUARE), (1, [300, 100, 100, 100]))
    results = detections((1, ELSEWHERE, 0.9), (1, SQUARE, 0.8), (1, [300, 100, 100, 100], 0.1))
    rows = error_rows(coco, results, matched(coco, results), 0.4)
    assert [row["error"] for row in rows] == list(KINDS)
    by_kind = {row["error"]: row for row in rows}
    assert by_kind["missed"] == {"error": "missed", "count": 1, "AP50_lost": 0.0}  # found, but below the threshold
    assert by_kind["background"]["count"] == 1
    assert by_kind["background"]["AP50_lost"] == pytest.approx(1 - 2 / 3, abs=1e-4)
    assert error_rows(scene(), [], {}, 0.4)[-1]["AP50_lost"] == 0
