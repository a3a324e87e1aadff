"""The experiment of docs/predict.md, very small."""

import csv

import pytest

from benchmarks.annotation_loop import TINY, main


@pytest.mark.slow
def test_both_strategies_start_from_the_same_images_and_annotate_as_many(tmp_path):
    main(TINY, tmp_path)
    with (tmp_path / "annotation_loop.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["strategy"], row["images"]) for row in rows] == [
        ("least sure", "2"),
        ("least sure", "4"),
        ("random", "2"),
        ("random", "4"),
    ]
    assert (rows[0]["boxes"], rows[0]["bbox_mAP"]) == (rows[2]["boxes"], rows[2]["bbox_mAP"])
    assert (tmp_path / "annotation_loop.png").stat().st_size > 1000
