"""The one form of a detection: what it checks, choosing, files."""

import json

import numpy as np
import pytest

from viadet.detection.detections import Detections, read_detections, write_detections


def make(scores, categories=("cat", "dog")):
    count = len(scores)
    boxes_xyxy = np.array([[i, 0.126, i + 10, 20.5] for i in range(count)], np.float32).reshape(-1, 4)
    labels = np.arange(count, dtype=np.int64) % 2 + 1
    return Detections(boxes_xyxy, np.array(scores, np.float32), labels, categories, labels * 100, labels - 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("boxes_xyxy", np.zeros((2, 4))),  # float64
        ("boxes_xyxy", np.zeros((3, 4), np.float32)),
        ("labels", np.ones(2, np.int32)),
        ("scores", np.array([[0.5, 0.4]], np.float32)),
        ("levels", np.ones((2, 1), np.int64)),
    ],
)
def test_another_shape_or_type_is_refused_with_what_was_expected(name, value):
    good = make([0.9, 0.8])
    values = {key: getattr(good, key) for key in ("boxes_xyxy", "scores", "labels", "categories", "anchors", "levels")}
    with pytest.raises(ValueError, match=r"is (float|int)\d+ \(.*\), expected (float32|int64) \("):
        Detections(**values | {name: value})


def test_the_best_come_first():
    with pytest.raises(ValueError, match="scores are not in descending order"):
        make([0.4, 0.9])
    assert len(make([0.4, 0.4])) == 2


def test_choosing_keeps_all_that_belongs_to_a_detection():
    detections = make([0.9, 0.8, 0.3, 0.2])
    above = detections.above(0.3)
    assert above.scores.tolist() == pytest.approx([0.9, 0.8, 0.3])
    assert above.names == ["cat", "dog", "cat"]
    assert above.anchors.tolist() == [100, 200, 100] and above.levels.tolist() == [0, 1, 0]
    assert len(detections.best(2)) == 2 and len(detections.best(None)) == len(detections.best(9)) == 4
    assert detections[np.array([3])].boxes_xyxy.tolist() == detections.boxes_xyxy[3:].tolist()
    assert len(detections.above(1.0)) == 0 and detections.above(1.0).names == []


def test_numbers_are_rounded_in_rows_only():
    detections = make([0.123456, 0.1])
    row = detections.coco_rows(7)[0]
    assert row == {"image_id": 7, "category_id": 1, "bbox": [0.0, 0.13, 10.0, 20.37], "score": 0.12346}
    assert [type(value) for value in row.values()] == [int, int, list, float]
    assert detections.scores[0] == np.float32(0.123456)
    boxes_xywh, scores = detections.rounded()
    assert (boxes_xywh[0].tolist(), scores[0]) == (row["bbox"], row["score"])


def test_a_box_of_less_than_a_hundredth_of_a_px_keeps_an_area_in_rows():
    boxes_xyxy = np.array([[0, 0, 0.001, 1]], np.float32)
    detections = Detections(boxes_xyxy, np.ones(1, np.float32), np.ones(1, np.int64))
    assert detections.rows() == [{"category_id": 1, "bbox": [0.0, 0.0, 0.01, 1.0], "score": 1.0}]


def test_rows_come_back_best_first():
    rows = make([0.9, 0.5]).rows()
    read = Detections.from_rows(rows[::-1])
    assert read.scores.tolist() == pytest.approx([0.9, 0.5])
    assert read.boxes_xyxy == pytest.approx(make([0.9, 0.5]).boxes_xyxy, abs=0.01)
    assert len(Detections.none()) == 0


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_file_has_one_detection_a_line_as_cocos_tools_read_it(count, tmp_path):
    detections = {4: make([0.5] * count), 9: make([0.25] * count), 11: make([])}
    write_detections(tmp_path / "detections.json", detections)
    text = (tmp_path / "detections.json").read_text(encoding="utf-8")
    assert json.loads(text) == detections[4].coco_rows(4) + detections[9].coco_rows(9)
    assert text.count("\n") == 2 * count + 2
    read = read_detections(tmp_path / "detections.json")
    assert {image_id: found.rows() for image_id, found in read.items()} == (
        {4: detections[4].rows(), 9: detections[9].rows()} if count else {}
    )


def test_a_score_that_json_does_not_have_leaves_the_old_file(tmp_path):
    path = tmp_path / "detections.json"
    write_detections(path, {1: make([0.5, 0.4])})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_detections(path, {1: make([0.5]), 2: make([float("nan")])})
    assert len(json.loads(path.read_text(encoding="utf-8"))) == 2
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
