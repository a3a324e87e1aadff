"""Finding the image file that an annotation file names, by a plain name, a path of any system, or a URL."""

import re
import unicodedata
from collections import defaultdict
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from viadet.annotations.data_files import files_below

SHOWN_CANDIDATES = 3
URL_START = re.compile(r"(?:https?|file)://[^/\\]*", re.IGNORECASE)  # scheme and host
# What browsers may show, but `decode_image` does not read.
UNREAD_SUFFIXES = {".avif", ".heic", ".heif", ".jxl", ".svg"}
DRIVE = re.compile(r"[A-Za-z]:(?=[/\\])")


class ImageNameError(ValueError):
    """A file name that leads to no image, or to several; the text follows the name in a message."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason  # "missing image" or "ambiguous name"


class FileBelow(NamedTuple):
    """A file below the indexed folder."""

    parts: tuple[str, ...]  # of the path relative to the folder, in Unicode's composed form
    path: Path


class FileIndex(NamedTuple):
    """All files below a folder, by name."""

    folder: Path
    paths: list[Path]  # in the order of files_below
    by_name: dict[str, list[FileBelow]]
    by_plain_stem: dict[str, list[FileBelow]]  # the stem in lower case, for hints


def index_files(folder: Path) -> FileIndex:
    """Index the files below a folder, once for all its images; links that lead nowhere are left out.

    Raises:
        UserError: a folder is missing or can't be read.
    """
    by_name, by_plain_stem = defaultdict(list), defaultdict(list)
    paths = [path for path in files_below(folder) if path.is_file()]
    for path in paths:
        file = FileBelow(tuple(_composed(part) for part in path.relative_to(folder).parts), path)
        by_name[file.parts[-1]].append(file)
        by_plain_stem[_plain_stem(file.parts[-1])].append(file)
    return FileIndex(folder, paths, dict(by_name), dict(by_plain_stem))


def resolve_image(file_name: str, via_folder: Path, index: FileIndex, size: int | None = None) -> Path:
    """Find the image below the indexed folder that an annotation file names.

    The longest end of the name's path that some file's path has decides: the whole path first, the bare name last.
    Among several such files, the first of these rules that leaves one decides: the file lies exactly there, seen from
    the annotation file's folder or from one of those above it; it has the size in bytes that VIA wrote down; it shares
    most folders with the annotation file.

    Args:
        file_name: as written: a name, a relative or absolute path of any system, or a URL.
        via_folder: folder of the annotation file, the indexed folder or one below it.
        index: of the folder with all data.
        size: bytes of the image, if VIA knew it.

    Raises:
        ImageNameError: there is no such file, or more than one.
    """
    for parts in _spellings(file_name):
        named = index.by_name.get(parts[-1], [])
        for start in range(len(parts)):
            end = parts[start:]
            candidates = [file for file in named if file.parts[-len(end) :] == end]
            if candidates:
                return _only_one(candidates, end, via_folder, index, size).path
    raise ImageNameError(f"is missing{_hint(file_name, index)}", "missing image")


def _only_one(
    candidates: list[FileBelow], end: tuple[str, ...], via_folder: Path, index: FileIndex, size: int | None
) -> FileBelow:
    if len(candidates) == 1:
        return candidates[0]
    via_parts = tuple(_composed(part) for part in _relative_parts(via_folder, index.folder))
    for depth in range(len(via_parts), -1, -1):
        for file in candidates:
            if file.parts == via_parts[:depth] + end:
                return file
    same_size = [file for file in candidates if size is not None and file.path.stat().st_size == size]
    candidates = same_size or candidates
    shared = [_shared_folders(file.parts[:-1], via_parts) for file in candidates]
    nearest = [file for file, count in zip(candidates, shared, strict=True) if count == max(shared)]
    if len(nearest) > 1:
        names = ["/".join(file.parts) for file in nearest]
        others = f" and {len(names) - SHOWN_CANDIDATES} more" if len(names) > SHOWN_CANDIDATES else ""
        shown = ", ".join(names[:SHOWN_CANDIDATES])
        raise ImageNameError(f"could be any of {len(names)} images: {shown}{others}", "ambiguous name")
    return nearest[0]


def _spellings(file_name: str) -> list[tuple[str, ...]]:
    """Split a name into the parts of its path, as written and with the percent signs of URLs decoded."""
    names = [file_name]
    if URL_START.match(file_name):
        names = [unquote(re.split("[?#]", file_name)[0]), re.split("[?#]", file_name)[0], file_name]
    spellings = [(_composed(file_name),), *(_parts(name) for name in [*names, unquote(file_name)])]
    return [parts for parts in dict.fromkeys(spellings) if parts]


def _parts(name: str) -> tuple[str, ...]:
    """Give the parts of a path below its last `..`, without scheme, host, drive and root."""
    name = DRIVE.sub("", URL_START.sub("", name).lstrip("/\\"), count=1)
    parts = [_composed(part) for part in re.split(r"[/\\]", name) if part not in ("", ".")]
    last_up = max((place for place, part in enumerate(parts) if part == ".."), default=-1)
    return tuple(parts[last_up + 1 :])


def _hint(file_name: str, index: FileIndex) -> str:
    """Name a file whose name differs only in case or suffix, or say that no such file could be read."""
    for parts in _spellings(file_name)[-1:]:
        similar = index.by_plain_stem.get(_plain_stem(parts[-1]), [])
        same_case = [file for file in similar if file.parts[-1].casefold() == parts[-1].casefold()]
        for file in same_case or similar:
            return f", but {'/'.join(file.parts)} is there"
    suffix = Path(_spellings(file_name)[-1][-1]).suffix
    return f", and {suffix} images can't be read; save it as JPEG or PNG" if suffix.lower() in UNREAD_SUFFIXES else ""


def _shared_folders(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _relative_parts(folder: Path, top: Path) -> tuple[str, ...]:
    return folder.relative_to(top).parts if folder.is_relative_to(top) else ()


def _composed(text: str) -> str:
    # macOS may write é as e and an accent; both look the same
    return unicodedata.normalize("NFC", text)


def _plain_stem(name: str) -> str:
    return Path(name).stem.casefold()
