"""Faults of a data set: regions, images and files that can't be used, grouped by reason; params decide about them."""

from typing import NamedTuple

from viadet.project.counting import counted
from viadet.project.errors import UserError
from viadet.project.params import ConvertParams

PRINTED_PLACES = 3  # of each reason
PRINTED_REASONS = 10
LISTED_PLACES = 1000  # of each reason, in the report's file


class Fault(NamedTuple):
    """A region, image or file that can't be used."""

    kind: str  # region, image or file
    reason: str  # the same for all faults of this sort
    place: str  # the user's own file, with image and region
    text: str  # what is wrong; follows the place in a message
    param: str | None  # key of `convert` that says error or skip; None: always an error


class FaultGroup(NamedTuple):
    """All faults of one reason."""

    kind: str
    reason: str
    param: str | None
    is_error: bool
    faults: list[Fault]

    def summary(self) -> str:
        """Give count, reason and the first places, such as `2 regions (point): via.json, a.jpg, region 3 is ...`."""
        shown = self.faults[:PRINTED_PLACES]
        # All faults of regions with one reason read the same; what is wrong with an image may include a hint.
        texts = [f"{f.place} {f.text}" if i == 0 or f.kind != "region" else f.place for i, f in enumerate(shown)]
        more = "; ..." if len(self.faults) > PRINTED_PLACES else ""
        return f"{counted(len(self.faults), self.kind)} ({self.reason}): {'; '.join(texts)}{more}"


def group_faults(faults: list[Fault], params: ConvertParams) -> list[FaultGroup]:
    """Group faults by reason: those that are errors first, then the most frequent ones."""
    groups: dict[tuple[str, str], list[Fault]] = {}
    for fault in faults:
        groups.setdefault((fault.kind, fault.reason), []).append(fault)
    listed = [
        FaultGroup(kind, reason, members[0].param, is_error(members[0].param, params), members)
        for (kind, reason), members in groups.items()
    ]
    return sorted(listed, key=lambda group: (not group.is_error, -len(group.faults), group.reason))


def is_error(param: str | None, params: ConvertParams) -> bool:
    """Tell whether faults that this param decides end the run."""
    return param is None or getattr(params, param) == "error"


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
    first, count = errors[0].faults[0], sum(len(group.faults) for group in errors)
    advice = (
        f"; fix {'it' if count == 1 else 'them'}{place}, or set convert.{', '.join(params)} to skip" if params else ""
    )
    if count == 1:
        raise UserError(f"{first.place} {first.text}{advice}")
    more = len(errors) - PRINTED_REASONS
    parts = ", ".join(f"{len(group.faults)} {group.reason}" for group in errors[:PRINTED_REASONS])
    parts += f" and {counted(more, 'more reason')}" if more > 0 else ""
    raise UserError(
        f"{origin} has {count} faults: {parts}; the first: {first.place} {first.text}{advice}; "
        "metrics/dataset_report.json lists all"
    )
