"""Faults of a data set: regions, images and files that can't be used, grouped by reason; params decide about them.

What is wrong stays data until `sentence` writes it. Files are named as the user knows them.
"""

from collections import Counter
from pathlib import PurePath
from typing import NamedTuple

from viadet.project.counting import counted, first_names
from viadet.project.errors import UserError
from viadet.project.params import ConvertParams

PRINTED_PLACES = 3  # of each reason
PRINTED_REASONS = 10
LISTED_PLACES = 1000  # of each reason, in the report's file


class Fault(NamedTuple):
    """A region, image or file that can't be used."""

    kind: str  # region, image or file
    reason: str  # the same for all faults of this sort
    file: str  # the annotation file, the image itself if it can't be read, or the data set's folder
    text: str  # what is wrong; follows the place in a message
    param: str | None = None  # key of `convert` that says error or skip; None: always an error
    places: tuple[str, ...] = ()  # in the file, from the outermost: a row of it, or an image and its "region 3"

    @property
    def place(self) -> str:
        """Name the file, image and region."""
        return ", ".join([self.file, *self.places])

    @property
    def is_missing_image(self) -> bool:
        """Tell whether only an annotation file names the image; of the others there is a file."""
        return self.kind == "image" and self.param == "bad_images" and len(self.places) == 1

    @property
    def sentence(self) -> str:
        """Say where the fault is and what is wrong."""
        return f"{self.place} {self.text}"


class FaultGroup(NamedTuple):
    """All faults of one reason."""

    kind: str
    reason: str
    param: str | None
    is_error: bool
    faults: list[Fault]

    @property
    def summary(self) -> str:
        """Give count, reason and the first places, such as `2 regions (point): via.json, a.jpg, region 3 is ...`."""
        first, *others = self.faults[:PRINTED_PLACES]
        # All faults of regions with one reason read the same; what is wrong with an image may differ by a hint.
        same_text = self.kind == "region"
        texts = [fault.place if same_text or fault.text == first.text else fault.sentence for fault in others]
        more = "; ..." if len(self.faults) > PRINTED_PLACES else ""
        places = "; ".join([first.sentence, *texts])
        return f"{counted(len(self.faults), self.kind)} ({self.reason}): {places}{more}"


def user_path(origin: str, name: str) -> str:
    """Name a file below the data set's folder `origin` as the user knows it, with `/`, as reports are compared."""
    return (PurePath(origin) / name).as_posix()


def count_left_out(faults: list[Fault]) -> str:
    """Count faults by reason, with the param that had them left out."""
    counts = Counter((fault.reason, fault.param) for fault in faults)
    parts = [f"{count} {reason} by convert.{param}" for (reason, param), count in counts.most_common()]
    return f"left out were {first_names(parts, PRINTED_REASONS)}"


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
    """End with all faults that are errors in one line, if there are any; `origin` is the data set's folder.

    Raises:
        UserError: says of each reason how many faults there are, and where the first is.
    """
    errors = [group for group in groups if group.is_error]
    if not errors:
        return
    params = sorted({group.param for group in errors if group.param})
    place = " in VIA" if errors[0].kind == "region" else ""
    first = errors[0].faults[0].sentence
    count = sum(len(group.faults) for group in errors)
    pronoun = "it" if count == 1 else "them"
    advice = f"; fix {pronoun}{place}, or set convert.{', '.join(params)} to skip" if params else ""
    if count == 1:
        raise UserError(f"{first}{advice}")
    more = len(errors) - PRINTED_REASONS
    parts = ", ".join(f"{len(group.faults)} {group.reason}" for group in errors[:PRINTED_REASONS])
    parts += f" and {counted(more, 'more reason')}" if more > 0 else ""
    raise UserError(
        f"{origin} has {count} faults: {parts}; the first: {first}{advice}; metrics/dataset_report.json lists all"
    )
