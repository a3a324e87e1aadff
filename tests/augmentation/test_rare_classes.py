"""Rare classes: how often their objects are pasted and their images repeated; one class has the samples of before."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from projects import read

from benchmarks.rare_classes import COLUMNS, TINY, UNIFORM, WAYS, choose_alike, main
from benchmarks.scenes import render_classes
from viadet.augmentation.copy_paste import CutOuts
from viadet.augmentation.randomness import seed_of
from viadet.augmentation.scenes import Scenes
from viadet.augmentation.training_set import TrainingSet, epoch_batches, occurrences, repeat_factors
from viadet.images.pixels import read_image
from viadet.project.params import read_recipe

GREY = (128, 128, 128)
TRAIN = (Path("data/coco/train.json"), Path("data/raw"))


class Alike(CutOuts):
    """Cut-outs chosen as before: one draw, all alike."""

    def random_number(self) -> int:
        return int(torch.randint(len(self), ()))


def training_set(**changes):
    """The sample's images; all params but these and the size are the recipe's."""
    params = read_recipe().train
    augment = params.augment.model_copy(update=changes.pop("augment", {}))
    params = params.model_copy(update={"epochs": 4, "small_share": 0.0, "augment": augment} | changes)
    return TrainingSet(*TRAIN, params, (128, 96), GREY)


def give_classes(every: int) -> None:
    """Make some of the sample's objects a second class."""
    coco = read(TRAIN[0])
    for annotation in coco["annotations"]:
        annotation["category_id"] = 1 + (annotation["id"] % every == 0)
    coco["categories"] = [{"id": 1, "name": "frequent"}, {"id": 2, "name": "rare"}]
    TRAIN[0].write_text(json.dumps(coco), encoding="utf-8")


def samples_of(images):
    return [images[epoch, index] for epoch in (0, 1, 3) for index in range(len(images))]


def are_equal(some, others):
    return all(
        torch.equal(a, b) for one, other in zip(some, others, strict=True) for a, b in zip(one, other, strict=True)
    )


def test_with_one_class_samples_have_the_bytes_that_alike_cut_outs_give(sample):
    changes = {"copy_paste": 6, "cluster": 0.5, "mosaic": 0.3}
    images, before = training_set(augment=changes), training_set(augment=changes)
    before.cut_outs = Alike(before.scenes, Scenes(*TRAIN, 128).outlines())
    assert len(images.cut_outs.classes) == 1
    assert are_equal(samples_of(images), samples_of(before))


def test_with_one_class_each_choice_is_one_draw_as_before(sample):
    cut_outs = training_set().cut_outs
    torch.manual_seed(3)
    before = [(int(torch.randint(len(cut_outs), ())), float(torch.rand(()))) for _ in range(100)]
    torch.manual_seed(3)
    assert [(cut_outs.random_number(), float(torch.rand(()))) for _ in range(100)] == before


def test_a_class_is_pasted_by_the_root_of_its_number_and_its_objects_alike(sample):
    give_classes(every=5)
    images = training_set()
    frequent, rare = sorted(images.cut_outs.classes, key=len, reverse=True)
    labels = [images.cut_outs[number].label for number in range(len(images.cut_outs))]
    assert {labels[number] for number in frequent} == {1}
    assert {labels[number] for number in rare} == {2}
    torch.manual_seed(0)
    counts = Counter(images.cut_outs.random_number() for _ in range(20_000))
    share = len(rare) ** 0.5 / (len(rare) ** 0.5 + len(frequent) ** 0.5)
    assert share > 1.4 * len(rare) / len(labels)
    assert sum(counts[number] for number in rare) / 20_000 == pytest.approx(share, abs=0.015)
    for number in rare:
        assert counts[number] / 20_000 == pytest.approx(share / len(rare), abs=0.015)
    for number in frequent:
        assert counts[number] / 20_000 == pytest.approx((1 - share) / len(frequent), abs=0.015)


def test_with_several_classes_samples_differ_from_those_of_alike_cut_outs(sample):
    give_classes(every=5)
    images, before = training_set(augment={"copy_paste": 6}), training_set(augment={"copy_paste": 6})
    choose_alike(before)
    assert not are_equal(samples_of(images), samples_of(before))
    assert are_equal(samples_of(before)[-len(before) :], samples_of(images)[-len(images) :])  # the plain epochs


def test_repeat_factors_are_those_of_the_paper():
    # class 1 is in 8 of 10 images, class 2 in 2, class 3 in 1 together with class 1, twice
    labels = [[1]] * 6 + [[1, 1, 2], [2], [], [1, 3, 3]]
    assert repeat_factors(labels, None) == [1.0] * 10
    factors = repeat_factors(labels, 0.5)
    assert factors[:6] == [1.0] * 6
    assert factors[6] == factors[7] == pytest.approx((0.5 / 0.2) ** 0.5)
    assert factors[8] == 1.0
    assert factors[9] == pytest.approx((0.5 / 0.1) ** 0.5)
    assert repeat_factors(labels, 0.1) == [1.0] * 10
    assert repeat_factors([[], []], 0.5) == [1.0] * 2


def test_a_factor_is_rounded_up_or_down_by_seed_epoch_and_image_and_right_in_the_mean():
    rounded = [occurrences(2.3, 0, epoch, 5) for epoch in range(4000)]
    assert set(rounded) == {2, 3}
    assert np.mean(rounded) == pytest.approx(2.3, abs=0.03)
    assert rounded == [occurrences(2.3, 0, epoch, 5) for epoch in range(4000)]
    assert rounded != [occurrences(2.3, 1, epoch, 5) for epoch in range(4000)]
    assert rounded != [occurrences(2.3, 0, epoch, 6) for epoch in range(4000)]
    assert {occurrences(3.0, 0, epoch, 0) for epoch in range(100)} == {3}


def test_an_epoch_has_its_length_and_repeated_images_in_place_of_others():
    factors = [1.0] * 18 + [2.5, 4.0]
    epochs = [epoch_batches(20, 4, 2, epoch, 0, factors) for epoch in range(400)]
    assert {(len(batches), *map(len, batches)) for batches in epochs} == {(4, 4, 4, 4, 4)}
    counts = Counter()
    for epoch, batches in enumerate(epochs):
        keys = [key for batch in batches for key in batch]
        assert len(set(keys)) == 16
        assert {number for number, _ in keys} == {epoch}
        counts.update(number % 20 for _, number in keys)
    usual = np.mean([counts[number] for number in range(18)])
    assert usual == pytest.approx(400 * 16 / 24.5, rel=0.02)
    assert max(abs(counts[number] - usual) for number in range(18)) < 0.15 * usual
    assert counts[18] / usual == pytest.approx(2.5, rel=0.05)
    assert counts[19] / usual == pytest.approx(4, rel=0.05)
    assert epochs[7] == epoch_batches(20, 4, 2, 7, 0, factors)  # whatever came before, as after a resume


def test_images_that_are_not_repeated_have_the_batches_of_before():
    for epoch in range(5):
        assert epoch_batches(21, 4, 2, epoch, 3, [1.0] * 21) == epoch_batches(21, 4, 2, epoch, 3)
        order = torch.randperm(21, generator=torch.Generator().manual_seed(seed_of(3, epoch))).tolist()
        batches = epoch_batches(21, 4, 2, epoch, 3)
        assert [number for batch in batches for _, number in batch] == order[:16]


def test_a_repetition_is_another_sample_of_the_same_image(sample):
    images = training_set()
    first, second, third = (images[0, 2 + repeat * len(images)] for repeat in range(3))
    assert not torch.equal(first.image, second.image)
    assert not torch.equal(second.image, third.image)
    plain = {"scale": [1.0, 1.0], "flip": 0.0, "colour": 0.0, "channels": 0.0, "copy_paste": 0, "cluster": 0.0}
    images = training_set(augment=plain)
    _, height, width = images.scenes[2].image.shape
    images.input_wh = (width, height)
    assert torch.equal(images[0, 2 + len(images)].image, images.scenes[2].image)


def test_the_training_set_tells_how_many_images_are_repeated(sample):
    give_classes(every=10_000)
    images = training_set(repeat_threshold=0.5)
    assert images.repeat_factors == [1.0] * len(images)
    told = (
        f"train.repeat_threshold 0.5 repeats none of {len(images)} images, as each class is in a larger share of them"
    )
    assert images.describe_repeats() == told
    coco = read(TRAIN[0])
    coco["annotations"][0]["category_id"] = 2
    TRAIN[0].write_text(json.dumps(coco), encoding="utf-8")
    images = training_set(repeat_threshold=0.5)
    assert sorted(images.repeat_factors)[:-1] == [1.0] * (len(images) - 1)
    assert max(images.repeat_factors) == pytest.approx((0.5 * len(images)) ** 0.5)
    most = f"{max(images.repeat_factors):.1f}"
    told = f"train.repeat_threshold 0.5 repeats 1 of {len(images)} images, the rarest {most} times an epoch"
    assert images.describe_repeats() == told


def test_rendered_classes_have_just_so_many_objects_and_show_their_pattern(tmp_path):
    counts = {"plain": 12, "striped": 4, "dotted": 3}
    coco = render_classes(tmp_path, counts, 128, (5, 0))
    found = Counter(annotation["category_id"] for annotation in coco["annotations"])
    assert found == {1: 12, 2: 4, 3: 3}
    white = {1: [], 2: [], 3: []}
    for annotation in coco["annotations"]:
        image = read_image(tmp_path / coco["images"][annotation["image_id"] - 1]["file_name"])
        x, y, width, height = annotation["bbox"]
        body = image[:, y + height // 4 : y + 3 * height // 4, x + width // 4 : x + 3 * width // 4]
        white[annotation["category_id"]].append(float((body.amin(0) > 140).float().mean()))
    assert np.mean(white[1]) + 0.1 < np.mean(white[3])
    assert np.mean(white[1]) + 0.1 < np.mean(white[2])


@pytest.mark.slow
def test_the_benchmark_trains_in_three_ways_on_the_same_images(tmp_path, capsys):
    main(TINY._replace(seeds=1), tmp_path)
    with (tmp_path / "rare_classes.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == COLUMNS
    assert [row["way"] for row in rows] == list(WAYS)
    for row in rows:
        assert float(row["rare"]) == pytest.approx((float(row["striped"]) + float(row["dotted"])) / 2, abs=1e-4)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3].startswith(f"| {UNIFORM} | ")
    assert all(line.count("|") == 8 for line in lines[-5:])
