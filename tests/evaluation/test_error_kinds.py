"""Kinds of errors and their cost in AP50, in images small enough to calculate by hand."""

import numpy as np
import pytest
from projects import found

from viadet.evaluation.coco_metrics import evaluate_coco
from viadet.evaluation.error_kinds import (
    ERROR_KINDS,
    analyse_errors,
    ap50s_without,
    class_error_rows,
    classify_errors,
    error_rows,
)

SQUARE = [100, 100, 100, 100]
ELSEWHERE = [400, 400, 50, 50]


def ground_truth(*objects):
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


def detections(*rows):
    """Detections are (category, xywh, score)."""
    return [{"image_id": 1, "category_id": c, "bbox": box, "score": score} for c, box, score in rows]


def errors_of(coco, results):
    """The errors of all detections, and the table of matches."""
    matches = evaluate_coco(coco, found(results)).matches
    return classify_errors(coco, matches), matches


def analysis_of(coco, results):
    return analyse_errors(coco, evaluate_coco(coco, found(results)).matches, 0.4)


@pytest.mark.parametrize(
    ("rows", "expected"),
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
def test_the_kind_depends_on_class_overlap_and_matches(rows, expected):
    coco, results = ground_truth((1, SQUARE)), detections(*rows)
    assert [error.kind for error in errors_of(coco, results)[0]] == expected


def test_ap50_without_a_kind_of_error_is_calculated_by_hand():
    # The background detection (0.9) ranks above the hit (0.8); the second object has a box of IoU 0.25, the third none.
    coco = ground_truth((1, SQUARE), (1, [300, 100, 100, 100]), (1, [100, 300, 100, 100]))
    results = detections((1, ELSEWHERE, 0.9), (1, SQUARE, 0.8), (1, [360, 100, 100, 100], 0.7))
    errors, matches = errors_of(coco, results)
    assert [error.kind for error in errors] == ["background", "localisation", "missed"]
    at_recalls = [34, 67, 101]  # of COCO's 101 recalls, how many lie at or below 1/3, 2/3 and 1
    expected = {
        None: 34 * (1 / 2),
        "background": 34 * 1,
        "localisation": 67 * (2 / 3),
        "missed": 51 * (1 / 2),  # one of the two remaining objects detected
        "class": 34 * (1 / 2),
    }
    assert at_recalls == [int(np.sum(np.linspace(0, 1, 101) <= k / 3 + 1e-9)) for k in (1, 2, 3)]
    for kind, total in expected.items():
        assert ap50s_without(kind, errors, coco, matches) == {1: pytest.approx(total / 101)}, kind


def test_a_fixed_class_error_counts_for_the_right_class():
    coco = ground_truth((1, SQUARE), (2, [300, 300, 80, 80]))
    results = detections((2, SQUARE, 0.9), (2, [300, 300, 80, 80], 0.8))
    errors, matches = errors_of(coco, results)
    assert ap50s_without(None, errors, coco, matches) == pytest.approx({1: 0, 2: 0.5})
    assert ap50s_without("class", errors, coco, matches) == pytest.approx({1: 1, 2: 1})


def test_of_two_localisation_errors_the_better_scored_is_fixed_and_the_other_removed():
    coco = ground_truth((1, SQUARE))
    results = detections((1, [160, 100, 100, 100], 0.6), (1, [100, 160, 100, 100], 0.9), (1, ELSEWHERE, 0.7))
    errors, matches = errors_of(coco, results)
    assert ap50s_without("localisation", errors, coco, matches) == pytest.approx({1: 1})


def test_average_precision_equals_cocoevals():
    rng = np.random.default_rng(0)
    boxes = [[int(x), int(y), 40, 40] for x, y in rng.integers(0, 500, (30, 2))]
    coco = ground_truth(*((1 + i % 2, box) for i, box in enumerate(boxes)))
    jitter = rng.integers(-14, 15, (60, 2))
    results = detections(
        *(
            (1 + i % 2, [boxes[i % 30][0] + int(dx), boxes[i % 30][1] + int(dy), 40, 40], round(float(score), 3))
            for i, ((dx, dy), score) in enumerate(zip(jitter, rng.random(60), strict=True))
        )
    )
    metrics = evaluate_coco(coco, found(results))
    ap50s = ap50s_without(None, [], coco, metrics.matches)
    ap50 = np.mean(list(ap50s.values()))
    assert 0.1 < ap50 < 0.9
    assert round(ap50, 4) == metrics.stats["bbox_mAP_50"]


def test_rows_count_errors_at_the_threshold_but_compute_the_cost_from_all_detections():
    coco = ground_truth((1, SQUARE), (1, [300, 100, 100, 100]))
    results = detections((1, [300, 100, 100, 100], 0.1), (1, ELSEWHERE, 0.9), (1, SQUARE, 0.8))
    rows = error_rows(analysis_of(coco, results))
    assert [row["error"] for row in rows] == list(ERROR_KINDS)
    by_kind = {row["error"]: row for row in rows}
    assert by_kind["missed"] == {"error": "missed", "count": 1, "AP50_lost": 0.0}  # detected, but below the threshold
    assert {kind: row["count"] for kind, row in by_kind.items() if row["count"]} == {"background": 1, "missed": 1}
    assert by_kind["background"]["AP50_lost"] == pytest.approx(1 - 2 / 3, abs=1e-4)
    assert error_rows(analysis_of(ground_truth(), []))[-1]["AP50_lost"] == 0


def test_errors_by_class_are_those_of_the_detections_class_or_of_the_missed_objects():
    coco = ground_truth((1, SQUARE), (2, [300, 300, 80, 80]))
    results = detections((1, SQUARE, 0.9), (1, ELSEWHERE, 0.95), (2, [300, 100, 80, 80], 0.8))
    analysis = analysis_of(coco, results)
    rows = class_error_rows(coco, analysis)
    assert [(row["class"], row["error"]) for row in rows] == [(n, kind) for n in ("cat", "dog") for kind in ERROR_KINDS]
    counted = {(row["class"], row["error"]): row["AP50_lost"] for row in rows if row["count"]}
    # without its false positive, cat has AP 1; a dog that is not detected and counts no more leaves no object
    assert counted == {("cat", "background"): 0.5, ("dog", "background"): 0, ("dog", "missed"): 0}
    for row in error_rows(analysis):
        same = [class_row for class_row in rows if class_row["error"] == row["error"]]
        assert row["count"] == sum(class_row["count"] for class_row in same)
