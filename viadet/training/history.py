"""The record of a training: losses and AP by epoch, images and seconds."""

from dataclasses import dataclass, field

from tqdm import tqdm

from viadet.training.schedule import Schedule


@dataclass
class History:
    """The epochs that are done."""

    losses: list[dict[str, float]] = field(default_factory=list)  # a row an epoch
    aps: list[dict[str, float]] = field(default_factory=list)  # a row a validation
    seconds: float = 0.0  # spent on training steps, without validation
    images: int = 0
    steps: int = 0

    @property
    def epochs(self) -> int:
        """Number of epochs that are done."""
        return len(self.losses)

    def add_epoch(self, epoch: int, losses: list[float], lr: float, seconds: float, schedule: Schedule) -> None:
        """Add an epoch: its mean losses (sum, class, box), the heads' last learning rate, the seconds of its steps."""
        loss, class_loss, box_loss = losses
        self.losses.append({"epoch": epoch, "loss": loss, "class_loss": class_loss, "box_loss": box_loss, "lr": lr})
        self.seconds += seconds
        self.images += schedule.images_per_epoch
        self.steps += schedule.steps_per_epoch

    def add_validation(self, epoch: int, stats: dict[str, float]) -> None:
        """Add the metrics of a validation, and print the first of them."""
        self.aps.append({"epoch": epoch} | stats)
        tqdm.write(f"epoch {epoch}: loss {self.losses[-1]['loss']:.3f}, bbox_mAP {stats['bbox_mAP']:.3f}")
