"""Which files below a folder belong to a data set: images and annotation files at any depth, without hidden ones."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from viadet.images.decoding import SUFFIXES
from viadet.project.counting import counted
from viadet.project.errors import FileError

ANNOTATION_SUFFIXES = {".json", ".csv"}
# Of images that browsers may show, but `decode_image` refuses.
UNREAD_SUFFIXES = {".avif", ".heic", ".heif", ".jxl", ".svg"}
VIDEO_SUFFIXES = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"}


def is_image_file(path: PurePath) -> bool:
    """Tell whether a file may be an image, by its suffix in any case."""
    return path.suffix.lower() in SUFFIXES


def is_data_file(path: PurePath) -> bool:
    """Tell whether a file may be an image or an annotation file, by its suffix in any case."""
    return path.suffix.lower() in SUFFIXES | ANNOTATION_SUFFIXES


def unread_media(paths: Iterable[PurePath]) -> str:
    """Count the images and videos among files that can't be read, and say what to do; "" if there are none."""
    kinds = Counter(path.suffix.lower() for path in paths)
    kinds = {kind: count for kind, count in sorted(kinds.items()) if kind in UNREAD_SUFFIXES | VIDEO_SUFFIXES}
    if not kinds:
        return ""
    advice = []
    if UNREAD_SUFFIXES & kinds.keys():
        advice.append("save the images as JPEG or PNG")
    if VIDEO_SUFFIXES & kinds.keys():
        advice.append("save frames of the videos as images")
    files = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return f"{counted(sum(kinds.values()), 'file')} can't be read ({files}); {', '.join(advice)}"


def is_hidden(path: PurePath) -> bool:
    """Tell whether a relative path or a folder above it is hidden, or left by macOS."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def files_below(folder: Path) -> Iterator[Path]:
    """Give all files below a folder, sorted by name within each folder, without hidden ones.

    Links to folders are followed, each folder once. Links that lead nowhere are given, too.

    Raises:
        FileError: a folder is missing or can't be read.
    """
    visited = set()
    for top, folders, names in os.walk(folder, onerror=_raise_unreadable, followlinks=True):
        real_path = os.path.realpath(top)
        if real_path in visited:
            folders.clear()
            continue
        visited.add(real_path)
        folders[:] = sorted(name for name in folders if not is_hidden(PurePath(name)))
        yield from (Path(top, name) for name in sorted(names) if not is_hidden(PurePath(name)))


def _raise_unreadable(error: OSError) -> None:
    raise FileError(Path(error.filename), f"can't be read ({error.strerror})")
