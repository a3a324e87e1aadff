"""Counts in messages: "1 image", "2 images"."""


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Write a count with its noun, such as "1 image" or "2 boxes".

    Args:
        count: how many.
        noun: of one.
        plural: of several; None: the noun with an s.
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
