"""What all readers of annotation files give: images with regions as the VGG Image Annotator (VIA) 2 writes them.

VIA: https://www.robots.ox.ac.uk/~vgg/software/via/.
"""

import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from viadet.project.counting import counted
from viadet.project.errors import UserError

Part = TypeVar("Part")
Result = TypeVar("Result")
LINE_BREAKING = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories that a message of one line can't show


class ViaImage(NamedTuple):
    """One annotated image."""

    file_name: str  # as in the file: a name, a path of any system, or a URL
    regions: list[Any]  # as in VIA 2: {"shape_attributes": {…}, "region_attributes": {…}}, but unchecked
    size: int | None = None  # bytes of the image file, where VIA knew it


class BadRegionError(ValueError):
    """A region that gives no box.

    The text follows the region's number in a message; `reason` is the same for all regions with this kind of fault.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


def checked_file_name(name: Any, path: Path) -> str:
    """Return the name of an image.

    Raises:
        UserError: it is not a text of one line.
    """
    if not isinstance(name, str) or not name.strip():
        raise UserError(f"{path} has an image with the file name {short_repr(name)}; give it the name of its file")
    if any(unicodedata.category(sign) in LINE_BREAKING for sign in name):
        raise UserError(f"{path}: the file name {short_repr(name)} has control characters; rename the image")
    return name


def short_repr(value: Any) -> str:
    """Show a value of an annotation file in an error message, in at most 60 characters."""
    try:
        text = repr(value)
    except RecursionError:
        return "a deeply nested value"
    return text if len(text) <= 60 else text[:57] + "..."


def read_all(path: Path, parts: Iterable[tuple[str, Part]], read: Callable[[Part], Result]) -> list[Result]:
    """Read all parts of an annotation file.

    Args:
        path: the file.
        parts: the place of each part in the file, such as "row 2", and the part.
        read: reads one part; the text of its ValueError follows the place in a message.

    Raises:
        UserError: parts can't be read; names the first and the number of the others.
    """
    results, problems = [], []
    for place, part in parts:
        try:
            results.append(read(part))
        except ValueError as error:
            problems.append(f", {place} {error}")
    raise_all(path, problems)
    return results


def raise_all(path: Path, problems: list[str]) -> None:
    """Raise a UserError with the first of a file's problems and the number of the others; nothing without problems."""
    if problems:
        others = f" (and {counted(len(problems) - 1, 'more such place')})" if len(problems) > 1 else ""
        raise UserError(f"{path}{problems[0]}{others}")
