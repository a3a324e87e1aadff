"""What is right, wrong and missed in a photograph; the untrained network scores about 0.5 everywhere."""

import numpy as np
import pytest

from viadet.explanation.measurements import masks_of


@pytest.fixture(scope="module")
def annotation_count(coco):
    count = sum(annotation["image_id"] == coco["images"][1]["id"] for annotation in coco["annotations"])
    assert count > 1
    return count


def test_detections_are_right_or_wrong_and_the_rest_is_missed(explained_image, annotation_count):
    kinds = [box.kind for box in explained_image.detections]
    assert len(kinds) == 6
    assert kinds[0] == "right"
    assert "wrong" in kinds
    assert kinds.count("right") + len(explained_image.missed) == annotation_count + 1
    scores = [box.score for box in explained_image.detections]
    assert scores == sorted(scores, reverse=True)
    assert explained_image.boxes == [*explained_image.detections, *explained_image.missed]


def test_a_right_detection_has_the_polygon_of_its_object(explained_image):
    # the annotation is a polygon along the detection's box
    masks = masks_of(explained_image.detections[0], explained_image.input_image.letterbox)
    assert (masks["box"] == masks["polygon"]).mean() > 0.98
    wrong = next(box for box in explained_image.detections if box.kind == "wrong")
    assert wrong.polygon is None


def test_each_box_has_gradients_of_its_own_target_and_a_seed_of_its_own(explained_image):
    for box in explained_image.boxes:
        assert box.gradients[box.target.level] is not None
        assert box.seed == (0, 2, int(box.target.anchors[0]))
    assert len({box.seed for box in explained_image.detections}) == 6


def test_a_missed_object_is_explained_by_the_anchors_nearest_to_it(sized, explain, coco, annotation_count):
    image = explain(coco, score_threshold=1.0)
    assert not image.detections
    assert len(image.missed) == annotation_count
    areas = [np.prod(box.box_xyxy[2:] - box.box_xyxy[:2]) for box in image.missed]
    assert areas == sorted(areas, reverse=True)
    for box in image.missed:
        nearest_xyxy = sized.anchors_yxyx[box.target.anchors[0]][[1, 0, 3, 2]].numpy()
        centre = (nearest_xyxy[:2] + nearest_xyxy[2:]) / 2
        assert (np.abs(centre - (box.box_xyxy[:2] + box.box_xyxy[2:]) / 2) < 16).all()
        assert sized.levels[box.target.anchors[0]] == box.target.level
        best = image.forward_pass.logits.detach()[box.target.anchors, 0].max().sigmoid()
        assert box.score == pytest.approx(float(best))


def test_no_more_are_explained_than_max_detections(explain, coco):
    assert len(explain(coco, max_detections=10, score_threshold=0.0).detections) == 10


def test_without_annotations_every_detection_is_wrong(explain, coco, threshold_of):
    image = explain({**coco, "annotations": []}, score_threshold=threshold_of(1))
    assert [box.kind for box in image.boxes] == ["wrong"]
