"""The line that says how long a training will take."""

import pytest

from viadet.training.optimiser import Schedule
from viadet.training.pace import Pace, describe_duration


def test_the_time_of_all_epochs_follows_from_the_pixels_of_the_timed_batches():
    schedule = Schedule(epochs=30, batch_size=4, batches_per_epoch=6, accumulate=1, warmup_steps=0)
    pace = Pace(schedule, [(512, 512)] * 20 + [(1024, 1024)] * 10, "cpu")
    lines = [pace.add(60.0 if batch < 3 else 2.0, 4, 1 + batch // 6) for batch in range(40)]
    told = [line for line in lines if line]
    # 120 small batches of 2 s, 60 of four times as many pixels; the three slow ones at the start don't count
    assert told == [
        "training takes about 12 minutes here for all 30 epochs, without their validation; "
        "train.epochs 10 would take a third of that"
    ]
    assert lines.index(told[0]) == 12


@pytest.mark.parametrize(
    ("seconds", "text"), [(40, "about 40 seconds"), (2300, "about 38 minutes"), (9000, "about 2.5 hours")]
)
def test_durations_are_round(seconds, text):
    assert describe_duration(seconds) == text
