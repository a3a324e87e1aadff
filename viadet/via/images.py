"""What all readers of annotation files give, images with regions as VIA 2 writes them, and how they refuse a file.

VIA: https://www.robots.ox.ac.uk/~vgg/software/via/.
"""

import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from viadet.project.counting import counted
from viadet.via.reviews import review_of

LINE_BREAKING = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories that a message of one line can't show


class ViaImage(NamedTuple):
    """One annotated image."""

    file_name: str  # as in the file: a name, a path of any system, or a URL
    regions: list[Any]  # as in VIA 2: {"shape_attributes": {…}, "region_attributes": {…}}, but unchecked
    size: int | None = None  # bytes of the image file, where VIA knew it
    file_attributes: Any = None  # of VIA 2, unchecked; None: there are none

    @property
    def review(self) -> int:
        """Number of the review that the entry comes from, 0: of none."""
        return review_of(self.file_attributes)


class DamagedFileError(Exception):
    """A file of VIA that can't be read; the text follows the name of the file and the places in it."""

    def __init__(self, text: str, *places: str) -> None:
        super().__init__(text)
        self.places = places  # from the outermost, such as "row 2"


class UnusableError(ValueError):
    """A region that gives no box, or an image that can't be found; the text follows the place in a message."""

    def __init__(self, text: str, reason: str, param: str = "bad_regions") -> None:
        super().__init__(text)
        self.reason = reason  # the same for all with this kind of fault
        self.param = param  # key of `convert` that decides about them


def checked_file_name(name: Any) -> str:
    """Return the name of an image.

    Raises:
        DamagedFileError: it is not a text of one line.
    """
    if not isinstance(name, str) or not name.strip():
        raise DamagedFileError(f"has the file name {short_repr(name)}; give the image the name of its file")
    if any(unicodedata.category(sign) in LINE_BREAKING for sign in name):
        raise DamagedFileError(f"has control characters in the file name {short_repr(name)}; rename the image")
    return name


def short_repr(value: Any) -> str:
    """Show a value of an annotation file in an error message, in at most 60 characters."""
    try:
        text = repr(value)
    except RecursionError:
        return "a deeply nested value"
    return text if len(text) <= 60 else text[:57] + "..."


def read_all(parts: Iterable[tuple[str, Any]], read: Callable[[Any], Any]) -> list[Any]:
    """Read all parts of an annotation file, each given with its place in the file, such as "row 2".

    Raises:
        DamagedFileError: parts can't be read; names the first and the number of the others.
    """
    results, problems = [], []
    for place, part in parts:
        try:
            results.append(read(part))
        except DamagedFileError as error:
            problems.append((error, place))
    if problems:
        error, place = problems[0]
        others = f" (and {counted(len(problems) - 1, 'more such place')})" if len(problems) > 1 else ""
        raise DamagedFileError(f"{error}{others}", place, *error.places)
    return results
