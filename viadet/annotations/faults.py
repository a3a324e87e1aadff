"""Faults of a data set: regions, images and files that can't be used, grouped by reason; params decide about them.

What is wrong stays data until `sentence` writes it, with the data set's folder as the user knows it.
"""

from dataclasses import dataclass
from pathlib import PurePath
from typing import NamedTuple

from viadet.project.counting import counted
from viadet.project.errors import UserError
from viadet.project.params import ConvertParams

PRINTED_PLACES = 3  # of each reason
PRINTED_REASONS = 10
LISTED_PLACES = 1000  # of each reason, in the report's file


@dataclass(frozen=True)
class Fault:
    """A region, image or file that can't be used; files are named relative to the folder of the data set, with `/`."""

    kind: str  # region, image or file
    reason: str  # the same for all faults of this sort
    text: str  # what is wrong; follows the place in a message
    param: str | None = None  # key of `convert` that says error or skip; None: always an error
    file: str = ""  # the annotation file, or the image itself if it can't be read; "" is the folder
    places: tuple[str, ...] = ()  # in the annotation file, from the outermost, such as "row 2"
    image: str | None = None  # whose entry or region it is
    region: int | None = None  # its number in the entry of the image, from 0
    other_file: str | None = None  # with the other entry of the image that the text ends with
    advice: str | None = None

    def place(self, origin: str) -> str:
        """Name the file, image and region; `origin` is the folder of the data set as the user knows it."""
        image = [] if self.image is None else [self.image]
        region = [] if self.region is None else [f"region {self.region}"]
        return ", ".join([user_path(origin, self.file), *self.places, *image, *region])

    def sentence(self, origin: str) -> str:
        """Say where the fault is and what is wrong; `origin` is as in `place`."""
        sentence = f"{self.place(origin)} {self.text}"
        if self.other_file is not None:
            other = "the same file" if self.other_file == self.file else user_path(origin, self.other_file)
            sentence += f" in {other}"
        return sentence + (f"; {self.advice}" if self.advice else "")


class FaultGroup(NamedTuple):
    """All faults of one reason."""

    kind: str
    reason: str
    param: str | None
    is_error: bool
    faults: list[Fault]

    def summary(self, origin: str) -> str:
        """Give count, reason and the first places, such as `2 regions (point): via.json, a.jpg, region 3 is ...`."""
        first, *others = self.faults[:PRINTED_PLACES]
        # All faults of regions with one reason read the same; what is wrong with an image may include a hint.
        same_text = self.kind == "region"
        texts = [fault.place(origin) if same_text else fault.sentence(origin) for fault in others]
        more = "; ..." if len(self.faults) > PRINTED_PLACES else ""
        places = "; ".join([first.sentence(origin), *texts])
        return f"{counted(len(self.faults), self.kind)} ({self.reason}): {places}{more}"


def user_path(origin: str, name: str) -> str:
    """Name a file of a data set as the user knows it, with `/` on every system, as reports are compared.

    Args:
        origin: the folder of the data set, as the user knows it.
        name: of the file, relative to that folder.
    """
    return (PurePath(origin) / name).as_posix()


def group_faults(faults: list[Fault], params: ConvertParams) -> list[FaultGroup]:
    """Group faults by reason: those that are errors first, then the most frequent ones."""
    groups: dict[tuple[str, str], list[Fault]] = {}
    for fault in faults:
        groups.setdefault((fault.kind, fault.reason), []).append(fault)
    listed = []
    for (kind, reason), members in groups.items():
        param = members[0].param
        is_error = param is None or getattr(params, param) == "error"
        listed.append(FaultGroup(kind, reason, param, is_error, members))
    return sorted(listed, key=lambda group: (not group.is_error, -len(group.faults), group.reason))


def raise_faults(groups: list[FaultGroup], origin: str) -> None:
    """End with all faults that are errors in one line, if there are any.

    Args:
        groups: as group_faults gives them.
        origin: the data set, as the user knows it.

    Raises:
        UserError: says of each reason how many faults there are, and where the first is.
    """
    errors = [group for group in groups if group.is_error]
    if not errors:
        return
    params = sorted({group.param for group in errors if group.param})
    place = " in VIA" if errors[0].kind == "region" else ""
    first = errors[0].faults[0].sentence(origin)
    count = sum(len(group.faults) for group in errors)
    advice = (
        f"; fix {'it' if count == 1 else 'them'}{place}, or set convert.{', '.join(params)} to skip" if params else ""
    )
    if count == 1:
        raise UserError(f"{first}{advice}")
    more = len(errors) - PRINTED_REASONS
    parts = ", ".join(f"{len(group.faults)} {group.reason}" for group in errors[:PRINTED_REASONS])
    parts += f" and {counted(more, 'more reason')}" if more > 0 else ""
    raise UserError(
        f"{origin} has {count} faults: {parts}; the first: {first}{advice}; metrics/dataset_report.json lists all"
    )
