"""Finding the image file that an annotation file names, by a plain name, a path of any system, or a URL."""

import re
import unicodedata
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from viadet.project.counting import first_names
from viadet.via.data_files import UNREAD_SUFFIXES, files_below
from viadet.via.images import UnusableError

URL_START = re.compile(r"(?:https?|file)://[^/\\]*", re.IGNORECASE)  # scheme and host
DRIVE = re.compile(r"[A-Za-z]:(?=[/\\])")


class FileBelow(NamedTuple):
    """A file below the indexed folder."""

    parts: tuple[str, ...]  # of its name, in Unicode's composed form
    name: str  # its path relative to the folder, with `/`


class FileIndex(NamedTuple):
    """All files below a folder."""

    folder: Path
    names: list[str]  # relative to the folder, with `/`, in the order of files_below
    by_name: dict[str, list[FileBelow]]  # by the last part of the name
    by_plain_stem: dict[str, list[FileBelow]]  # by the stem in lower case, for hints


def index_files(folder: Path) -> FileIndex:
    """Index the files below a folder, once for all its images; links that lead nowhere are left out.

    Raises:
        FileError: a folder is missing or can't be read.
    """
    index = FileIndex(folder, [], defaultdict(list), defaultdict(list))
    for path in filter(Path.is_file, files_below(folder)):
        name = path.relative_to(folder).as_posix()
        file = FileBelow(PurePosixPath(_composed(name)).parts, name)
        index.names.append(name)
        index.by_name[file.parts[-1]].append(file)
        index.by_plain_stem[_plain_stem(file.parts[-1])].append(file)
    return index


def resolve_image(file_name: str, source: str, index: FileIndex, size: int | None = None) -> str:
    """Find the image below the indexed folder that an annotation file names.

    The longest end of the name's path that some file's path has decides: the whole path first, the bare name last.
    Among several such files, the first of these rules that leaves one decides: the file lies exactly there, seen from
    the annotation file's folder or from one of those above it; it has the size in bytes that VIA wrote down; it shares
    most folders with the annotation file. The latter, `source`, is relative to the indexed folder; `size` is in bytes.

    Raises:
        UnusableError: there is no such file, or more than one.
    """
    for parts in _spellings(file_name):
        named = index.by_name.get(parts[-1], [])
        for start in range(len(parts)):
            end = parts[start:]
            candidates = [file for file in named if file.parts[-len(end) :] == end]
            if candidates:
                return _only_one(candidates, end, source, index, size).name
    raise UnusableError(f"is missing{_hint(file_name, index)}", "missing image", "bad_images")


def _only_one(
    candidates: list[FileBelow], end: tuple[str, ...], source: str, index: FileIndex, size: int | None
) -> FileBelow:
    if len(candidates) == 1:
        return candidates[0]
    folders = PurePosixPath(_composed(source)).parts[:-1]
    for depth in range(len(folders), -1, -1):
        for file in candidates:
            if file.parts == folders[:depth] + end:
                return file
    if size is not None:
        candidates = [f for f in candidates if (index.folder / f.name).stat().st_size == size] or candidates
    shared = [max(d for d in range(len(folders) + 1) if file.parts[:d] == folders[:d]) for file in candidates]
    nearest = [file for file, count in zip(candidates, shared, strict=True) if count == max(shared)]
    if len(nearest) > 1:
        names = first_names(["/".join(file.parts) for file in nearest])
        problem = f"could be any of {len(nearest)} images: {names}"
        raise UnusableError(problem, "ambiguous name", "bad_images")
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
    parts = [part for part in re.split(r"[/\\]", _composed(name)) if part not in ("", ".")]
    last_up = max((place for place, part in enumerate(parts) if part == ".."), default=-1)
    return tuple(parts[last_up + 1 :])


def _hint(file_name: str, index: FileIndex) -> str:
    """Name a file whose name differs only in case or suffix, or say that no such file could be read."""
    name = _spellings(file_name)[-1][-1]
    similar = index.by_plain_stem.get(_plain_stem(name), [])
    if similar:
        nearest = min(similar, key=lambda file: file.parts[-1].casefold() != name.casefold())
        return f", but {'/'.join(nearest.parts)} is there"
    suffix = Path(name).suffix
    return f", and {suffix} images can't be read; save it as JPEG or PNG" if suffix.lower() in UNREAD_SUFFIXES else ""


def _composed(text: str) -> str:
    # macOS may write é as e and an accent; both look the same
    return unicodedata.normalize("NFC", text)


def _plain_stem(name: str) -> str:
    return Path(name).stem.casefold()
