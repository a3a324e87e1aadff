"""How long a training will take, told once its first batches are timed."""

from viadet.training.optimiser import Schedule

MINUTE, HOUR = 60, 3600  # seconds


class Pace:
    """The time that batches take, by their pixels, and what follows for the epochs to come."""

    def __init__(self, schedule: Schedule, input_wh_by_epoch: list[tuple[int, int]], device_type: str) -> None:
        """Take the counts of the training and the width and height of its inputs in each epoch, px."""
        self.schedule = schedule
        self.px_by_epoch = [schedule.images_per_epoch * width * height for width, height in input_wh_by_epoch]
        # the first are slower; CUDA waits for a step only now and then, so that single times say nothing
        self.timed = range(20, 60) if device_type == "cuda" else range(3, 13)
        self.batches, self.px, self.seconds = 0, 0, 0.0

    def add(self, seconds: float, images: int, epoch: int) -> str | None:
        """Count a batch of an epoch, counted from 1; returns a line for people after the last of those timed."""
        if self.batches in self.timed:
            self.seconds += seconds
            self.px += images * self.px_by_epoch[epoch - 1] / self.schedule.images_per_epoch
        self.batches += 1
        return self.line() if self.batches == self.timed.stop else None

    def line(self) -> str:
        """Tell the time of all epochs, and what would take a third of it."""
        duration = describe_duration(self.seconds / self.px * sum(self.px_by_epoch))
        fewer = max(1, round(self.schedule.epochs / 3))
        return (
            f"training takes {duration} here for all {self.schedule.epochs} epochs, without their validation; "
            f"train.epochs {fewer} would take a third of that"
        )


def describe_duration(seconds: float) -> str:
    """Round a duration for people."""
    if seconds < 2 * MINUTE:
        return f"about {seconds:.0f} seconds"
    return f"about {seconds / MINUTE:.0f} minutes" if seconds < 2 * HOUR else f"about {seconds / HOUR:.1f} hours"
