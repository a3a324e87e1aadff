"""Counts of batches and steps, and the learning rate."""

import pytest

from viadet.project.params import read_recipe
from viadet.training.schedule import Schedule, make_schedule


def test_the_learning_rate_rises_linearly_and_falls_along_a_cosine():
    schedule = Schedule(epochs=7, batch_size=4, batches_per_epoch=2, accumulate=1, warmup_steps=4)
    factors = [schedule.learning_rate_factor(step) for step in range(15)]
    assert schedule.steps == 14
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[9] == pytest.approx(0.5)  # half-way between step 4 and 14
    assert factors[14] == pytest.approx(0)


@pytest.mark.parametrize(
    ("images", "changes", "expected"),
    [
        # 6 images in batches of 4: one full batch an epoch, two are left out
        (6, {"batch_size": 4, "accumulate": 1}, (1, 1, 1, 4)),
        # 9 images in batches of 2: four batches, of which two make a step
        (9, {"batch_size": 2, "accumulate": 2}, (4, 2, 2, 8)),
        # five batches to a step are more than an epoch has
        (7, {"batch_size": 3, "accumulate": 5}, (2, 2, 1, 6)),
        # fewer images than a batch
        (3, {"batch_size": 8, "accumulate": 1}, (1, 1, 1, 3)),
    ],
)
def test_an_epoch_has_whole_batches_and_whole_steps(project, images, changes, expected):
    params = read_recipe().train.model_copy(update=changes | {"epochs": 5})
    schedule = make_schedule(images, params)
    counts = (schedule.batches_per_epoch, schedule.accumulate, schedule.steps_per_epoch, schedule.images_per_epoch)
    assert counts == expected
    assert schedule.steps == 5 * expected[2]
    assert schedule.images == 5 * expected[3]
