"""Detections in COCO's results format, kept in little memory."""

import json
import random
import tracemalloc

import pytest
from viadet.network.results import Results, write_results


def make_results(count):
    numbers = random.Random(0)
    return [
        {
            "image_id": number // 100 + 1,
            "category_id": number % 3 + 1,
            "bbox": [round(numbers.uniform(0, 2000), 2) for _ in range(4)],
            "score": round(numbers.random(), 5),
        }
        for number in range(count)
    ]


def test_detections_come_back_as_they_were():
    expected, results = make_results(5), Results()
    assert list(results) == []
    results.extend(expected[:2])
    results.extend(expected[2:])
    assert list(results) == [results[index] for index in range(len(results))] == expected
    assert [type(value) for value in results[0].values()] == [int, int, list, float]
    assert results[-1] == expected[-1]


@pytest.mark.parametrize("index", [5, -6])
def test_a_detection_that_is_not_there_is_an_index_error(index):
    results = Results()
    results.extend(make_results(5))
    with pytest.raises(IndexError):
        results[index]


def test_a_detection_takes_fewer_than_a_hundred_bytes():
    entries, results = make_results(20_000), Results()
    tracemalloc.start()
    try:
        results.extend(entries)
        held_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 56 <= held_bytes / len(results) < 100


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_file_has_one_detection_a_line_as_cocos_tools_read_it(count, tmp_path):
    expected, results = make_results(count), Results()
    results.extend(expected)
    write_results(tmp_path / "detections.json", results)
    text = (tmp_path / "detections.json").read_text(encoding="utf-8")
    assert json.loads(text) == expected
    assert text.count("\n") == count + 2


def test_a_score_that_json_does_not_have_leaves_the_old_file(tmp_path):
    path, results = tmp_path / "detections.json", make_results(2)
    write_results(path, results)
    results[1]["score"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_results(path, results)
    assert len(json.loads(path.read_text(encoding="utf-8"))) == 2
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
