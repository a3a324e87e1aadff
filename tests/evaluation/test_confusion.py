"""The confusion matrix of images small enough to count by hand."""

from projects import found

from viadet.evaluation.coco_metrics import evaluate_coco
from viadet.evaluation.confusion import CONFUSION_COLUMNS, confusion_rows, count_confusions
from viadet.evaluation.error_kinds import analyse_errors

LEFT, RIGHT, FAR = [0, 0, 40, 40], [100, 0, 40, 40], [300, 300, 20, 20]


def coco_of(*objects):
    """Two images; objects are (image, category, xywh)."""
    return {
        "images": [{"id": 1}, {"id": 2}],
        "annotations": [
            {"id": i, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for i, (image, category, box) in enumerate(objects, start=1)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "objects"}],
    }


def detections(*rows):
    """Detections are (image, category, xywh, score)."""
    return [{"image_id": image, "category_id": c, "bbox": box, "score": score} for image, c, box, score in rows]


def counts(coco, results):
    """The pairs that occur, by the classes of object and detection."""
    matches = evaluate_coco(coco, found(results)).matches
    return dict(count_confusions(coco, analyse_errors(coco, matches, 0.5)))


def test_each_object_and_detection_is_counted_once():
    coco = coco_of((1, 1, LEFT), (1, 2, RIGHT), (2, 2, LEFT), (2, 3, RIGHT))
    results = detections(
        (1, 1, LEFT, 0.9),
        (1, 1, RIGHT, 0.8),  # a dog that is taken for a cat
        (1, 2, FAR, 0.7),  # nothing there
        (2, 2, [10, 0, 40, 40], 0.6),  # IoU 0.6
        (2, 3, [30, 0, 40, 40], 0.6),  # IoU 0.14
        (2, 3, RIGHT, 0.4),  # below the threshold
    )
    assert counts(coco, results) == {
        ("cat", "cat"): 1,
        ("dog", "cat"): 1,
        ("dog", "dog"): 1,
        ("objects", "(missed)"): 1,
        ("(background)", "dog"): 1,
        ("(background)", "objects"): 1,
    }


def test_matches_within_a_class_come_first_so_that_the_diagonal_is_what_other_figures_count():
    coco = coco_of((1, 1, LEFT))
    results = detections((1, 1, [4, 0, 40, 40], 0.9), (1, 2, LEFT, 0.6))
    assert counts(coco, results) == {("cat", "cat"): 1, ("(background)", "dog"): 1}


def test_an_object_beside_one_of_the_other_class_is_taken_for_the_class_that_was_detected_on_it():
    """The dog overlaps the cat a little (IoU 0.14): for TIDE the detection on the dog is a localisation error."""
    coco = coco_of((1, 1, LEFT), (1, 2, [30, 0, 40, 40]))
    results = detections((1, 1, LEFT, 0.9), (1, 1, [30, 0, 40, 40], 0.8), (1, 1, [31, 0, 40, 40], 0.7))
    assert counts(coco, results) == {("cat", "cat"): 1, ("dog", "cat"): 1, ("(background)", "cat"): 1}


def test_a_detection_matches_one_object_only():
    coco = coco_of((1, 1, LEFT), (1, 1, [2, 0, 40, 40]))
    assert counts(coco, detections((1, 1, LEFT, 0.9))) == {("cat", "cat"): 1, ("cat", "(missed)"): 1}


def test_the_table_has_a_row_for_each_pair_that_occurs_in_the_order_of_the_classes():
    coco = coco_of((1, 2, RIGHT), (1, 1, LEFT), (2, 2, LEFT))
    results = detections((1, 1, LEFT, 0.9), (1, 1, RIGHT, 0.8), (1, 3, FAR, 0.7))
    matches = evaluate_coco(coco, found(results)).matches
    rows = confusion_rows(coco, count_confusions(coco, analyse_errors(coco, matches, 0.5)))
    assert [list(row) for row in rows] == [CONFUSION_COLUMNS] * 4
    assert [tuple(row.values()) for row in rows] == [
        ("cat", "cat", 1),
        ("dog", "cat", 1),
        ("dog", "(missed)", 1),
        ("(background)", "objects", 1),
    ]


def test_without_any_object_or_detection_nothing_is_counted():
    assert counts(coco_of(), []) == {}
