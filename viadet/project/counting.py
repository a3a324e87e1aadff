"""Counts in messages: "1 image", "2 images", and lists of names: "a, b, c and 4 more"."""

from collections.abc import Sequence


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Write a count with its noun, such as "1 image" or "2 boxes"; the plural is the noun with an s, or as given."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def first_names(names: Sequence[str], shown: int = 3) -> str:
    """Write the first names, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
