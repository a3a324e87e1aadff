"""The experiment of docs/review.md: errors that are put in, suspects of a detector that is always right, tables."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from projects import found

from benchmarks.label_errors import choose_errors, judge_suspects, with_errors
from benchmarks.review import FULL, TINY, count_found, main, plan_corrections
from benchmarks.review_tables import gain_table, precision_table
from benchmarks.scenes import paint
from benchmarks.two_classes import annotate, render_scenes
from viadet.review.suspects import find_suspects
from viadet.training.checkpoint import Checkpoints

IMAGES = 40


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Rendered images and where they are."""
    folder = tmp_path_factory.mktemp("scenes")
    return folder, render_scenes(folder, IMAGES, 96, (0, 0), np.random.default_rng(0))


def reviewed(scenes, errors):
    """Suspects by a detector that sees each object as it is, and doubts a little."""
    folder, truth = scenes
    recipe = FULL.recipe(0, 1)
    _, right = annotate(folder, truth, recipe)
    data_set, wrong = annotate(folder, with_errors(truth, errors), recipe)
    rows = [
        {key: entry[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9 - 1e-3 * number}
        for number, entry in enumerate(right.coco["annotations"])
    ]
    return judge_suspects(find_suspects(wrong.coco, found(rows)), data_set, truth, errors)


def test_errors_are_of_the_shares_and_of_the_sizes_that_are_said(scenes):
    _, truth = scenes
    errors = choose_errors(truth, np.random.default_rng(1))
    count = sum(len(scene.objects) for scene in truth)
    kinds = [error.kind for error in errors]
    assert [kinds.count(kind) for kind in ("dropped", "shifted", "swapped")] == [
        round(share * count) for share in (0.1, 0.05, 0.05)
    ]
    assert len({(error.image, error.object) for error in errors}) == len(errors)
    for error in errors:
        (scene,) = with_errors([truth[error.image]], [error._replace(image=0)])
        own = truth[error.image].objects[error.object]
        if error.kind == "dropped":
            assert len(scene.objects) == len(truth[error.image].objects) - 1
            continue
        wrong = scene.objects[error.object]
        assert (wrong.category != own.category) == (error.kind == "swapped")
        sides_wh = own.box_xyxy[2:] - own.box_xyxy[:2]
        moved = np.linalg.norm((wrong.box_xyxy - own.box_xyxy)[:2] / sides_wh)
        assert moved == pytest.approx(0.2 if error.kind == "shifted" else 0, abs=1 / min(sides_wh))  # whole px


def test_a_detector_that_is_right_finds_nearly_all_errors_and_each_counts_once(scenes):
    _, truth = scenes
    errors = choose_errors(truth, np.random.default_rng(1))
    judged = reviewed(scenes, errors)
    pointed = [one.error for one in judged if one.error]
    assert len(pointed) == len(set(pointed)) >= 0.9 * len(errors)
    counts = count_found(judged, errors)
    assert {kind: n for kind, (_, n) in counts.items()} == {
        kind: sum(error.kind == kind for error in errors) for kind in counts
    }
    assert all(true >= 0.9 * n > 0 for true, n in counts.values())
    assert not [one for one in reviewed(scenes, []) if one.suspect.score > 0.2]


def test_as_many_images_are_looked_at_at_random_as_the_suspects_are_in(scenes):
    _, truth = scenes
    errors = choose_errors(truth, np.random.default_rng(1))
    judged = reviewed(scenes, errors)
    images = list(range(0, IMAGES, 2))  # trained on
    own = [error for error in errors if error.image in images]
    nothing, *plan, everything = plan_corrections(judged, errors, images, [3], 0)
    assert (nothing.left, everything.left) == (own, [])
    assert [(one.corrected, one.step) for one in plan] == [
        ("suspects", "first 3"),
        ("random images", "first 3"),
        ("suspects", "all"),
        ("random images", "all"),
    ]
    first = [one for one in judged if one.image in images][:3]
    by_suspects, at_random = plan[:2]
    assert by_suspects.images == at_random.images == len({one.image for one in first})
    assert set(own) - set(by_suspects.left) == {one.error for one in first} - {None}
    corrected = {error.image for error in own} - {error.image for error in at_random.left}
    assert len(corrected) <= at_random.images
    assert len(plan[2].left) <= 0.1 * len(own)
    assert {error.image for error in plan[3].left} <= {error.image for error in at_random.left}  # more of the same


def test_every_second_band_of_what_can_be_seen_is_white():
    grey = Image.fromarray(np.full((50, 60, 3), 100, np.uint8))
    square = np.array([[0, 0], [50, 0], [50, 50], [0, 50]])
    front = np.array([[25, 0], [60, 0], [60, 50], [25, 50]])
    pixels = np.array(paint(grey, [square, front], ["striped", "plain"]))
    assert pixels[5::10, 5, 0].tolist() == [100, 216, 100, 216, 100]  # three quarters white
    assert (pixels[:, 30:] == 100).all()


def test_the_tables_have_shares_means_and_differences_of_pairs():
    counts = {0: {"dropped": (9, 10), "swapped": (4, 5), "shifted": (1, 5)}}
    counts[1] = {"dropped": (4, 10), "swapped": (5, 5), "shifted": (5, 5)}
    lines = precision_table(counts).splitlines()
    assert lines[2] == "| 0 | 0.90 (9 of 10) | 0.80 (4 of 5) | 0.20 (1 of 5) |"
    assert lines[4] == "| together | 0.65 (13 of 20) | 0.90 (9 of 10) | 0.60 (6 of 10) |"
    assert lines[5] == "| to be reached | 0.90 | 0.85 | 0.65 |"
    aps = {("nothing", ""): (0.3, 0.4), ("suspects", "all"): (0.5, 0.7), ("random images", "all"): (0.4, 0.5)}
    aps |= {("all errors", ""): (0.6, 0.6)}
    rows = [
        {"corrected": corrected, "step": step, "seed": seed, "images": 7, "errors_left": 3 + seed, "bbox_mAP": ap}
        for (corrected, step), values in aps.items()
        for seed, ap in enumerate(values)
    ]
    assert gain_table(rows).splitlines()[2:] == [
        "| nothing | 7.0 | 3.5 | 0.350 ± 0.050 |  |  |  |",
        "| all suspects | 7.0 | 3.5 | 0.600 ± 0.100 | 3.5 | 0.450 ± 0.050 | +0.150 ± 0.050 |",
        "| all errors | 7.0 | 3.5 | 0.600 ± 0.000 |  |  |  |",
    ]


@pytest.mark.slow
def test_finished_trainings_are_kept_and_give_the_same_figures(tmp_path, capsys, monkeypatch):
    work, out, again = (tmp_path / name for name in ("work", "out", "again"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoints, "remove", interrupt)  # after the last epoch
        main(TINY, work, out)
    assert times_of(work) == {}
    main(TINY, work, out)
    printed = capsys.readouterr().out
    assert printed.count("resuming after epoch 1 of 1") == 1
    with (out / "review_gain.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["corrected"], row["step"]) for row in rows] == [
        ("nothing", ""),
        ("suspects", "first 1"),
        ("random images", "first 1"),
        ("suspects", "all"),
        ("random images", "all"),
        ("all errors", ""),
    ]
    assert (out / "review_gain.png").stat().st_size > 1000
    written = times_of(work)
    assert len(written) >= 3  # two folds, and without errors; what trains on the same annotations is one training
    main(TINY, work, again, seed=0)
    assert capsys.readouterr().out.split("\n\n", 1)[1] == printed.split("\n\n", 1)[1]  # the tables
    assert times_of(work) == written
    assert not again.exists()  # one seed alone is not for the docs


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def times_of(work: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in work.glob("seed_0/trainings/*.json")}
