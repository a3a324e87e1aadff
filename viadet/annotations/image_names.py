"""Finding the image file that an annotation file names, by a plain name, a path of any system, or a URL."""

import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from viadet.project.counting import first_names
from viadet.via.data_files import UNREAD_SUFFIXES, files_below, is_image_file
from viadet.via.images import UnusableError, ViaImage

MISSING = "missing image"  # the reason of faults
URL_START = re.compile(r"(?:https?|file)://[^/\\]*", re.IGNORECASE)  # scheme and host
DRIVE = re.compile(r"[A-Za-z]:(?=[/\\])")


class FileBelow(NamedTuple):
    """A file below the indexed folder."""

    parts: tuple[str, ...]  # of its name, in Unicode's composed form
    name: str  # its path relative to the folder, with `/`
    size: int  # bytes


class FileIndex(NamedTuple):
    """All files below a folder."""

    names: list[str]  # relative to the folder, with `/`, in the order of files_below
    by_name: dict[tuple[str, int | None], list[FileBelow]]  # by the last part of the name, with the size and with None
    by_plain_stem: dict[str, list[FileBelow]]  # by the stem in lower case, for hints
    images_by_size: dict[int, list[FileBelow]]  # by bytes, for hints


class Candidate(NamedTuple):
    """A file that a path in an annotation file may mean."""

    file: FileBelow
    end: tuple[str, ...]  # the longest one that both paths have

    @property
    def home(self) -> tuple[str, ...]:
        """The folder that the written path starts from if it means this file."""
        return self.file.parts[: -len(self.end)]


def index_files(folder: Path) -> FileIndex:
    """Index the files below a folder, once for all its images; links that lead nowhere are left out.

    Raises:
        FileError: a folder is missing or can't be read.
    """
    index = FileIndex([], defaultdict(list), defaultdict(list), defaultdict(list))
    for path in filter(Path.is_file, files_below(folder)):
        name = path.relative_to(folder).as_posix()
        file = FileBelow(PurePosixPath(_composed(name)).parts, name, path.stat().st_size)
        index.names.append(name)
        for size in (None, file.size):
            index.by_name[file.parts[-1], size].append(file)
        index.by_plain_stem[_plain_stem(file.parts[-1])].append(file)
        if is_image_file(path):
            index.images_by_size[file.size].append(file)
    return index


def resolve_images(images: list[ViaImage], source: str, index: FileIndex) -> list[FileBelow | UnusableError]:
    """Find the image files that the annotation file `source`, relative to the indexed folder, names.

    Candidates are all files of the written name, whatever the folders before it. Those with the size in bytes that VIA
    noted win. If none has it, a candidate with another size is a later version of the image only in the right place:
    beside the annotation file, or where the written path leads from the folder from which other paths of this file
    lead to images of their noted sizes; without any such, from the annotation file's folder or one above it.

    Among the candidates left, those count that have the longest end in common with the written path. If there are
    several, the first of these rules that leaves one decides: the path leads there from the annotation file's folder,
    or from the nearest one above it; it shares most folders with the annotation file.

    Returns:
        For each image its file, whose size may be another than the noted one; or why there is none, or more than one.
    """
    folders = PurePosixPath(_composed(source)).parts[:-1]
    agreeing = [_candidates(image.file_name, index, image.size) if image.size else [] for image in images]
    best_agreeing = [_best(same_size, folders)[0] for same_size in agreeing if same_size]
    homes, found = {best.home for best in best_agreeing}, {best.file for best in best_agreeing}
    places = homes or {folders[:depth] for depth in range(len(folders) + 1)}
    resolved = []
    for image, same_size in zip(images, agreeing, strict=True):
        named = [] if same_size else _candidates(image.file_name, index)
        likely = [
            candidate
            for candidate in named
            if image.size is None or candidate.home in places or candidate.file.parts[:-1] == folders
        ]
        best = _best(same_size or likely, folders)
        if len(best) == 1:
            resolved.append(best[0].file)
        elif best:
            names = first_names(["/".join(candidate.file.parts) for candidate in best])
            problem = f"could be any of {len(best)} images: {names}"
            resolved.append(UnusableError(problem, "ambiguous name", "bad_images"))
        else:
            problem = f"is missing{_hint(image, named, index, found)}"
            resolved.append(UnusableError(problem, MISSING, "bad_images"))
    return resolved


def _candidates(file_name: str, index: FileIndex, size: int | None = None) -> list[Candidate]:
    """Give the files of a written name, those of its first spelling first, each with the longest common end.

    With a `size`, only files that have it: a video's frames may lie under the same names in thousands of folders.
    """
    candidates: dict[str, Candidate] = {}
    for parts in _spellings(file_name):
        for file in index.by_name.get((parts[-1], size), []):
            end = parts[len(parts) - _common(parts[::-1], file.parts[::-1]) :]
            known = candidates.get(file.name)
            if known is None or len(end) > len(known.end):
                candidates[file.name] = Candidate(file, end)
    return list(candidates.values())


def _best(candidates: list[Candidate], folders: tuple[str, ...]) -> list[Candidate]:
    """Give the candidate that the rules of `resolve_images` choose, or all that they can't tell apart."""
    if not candidates:
        return []
    spelt = [candidate for candidate in candidates if candidate.end[-1] == candidates[0].end[-1]]
    longest = max(len(candidate.end) for candidate in spelt)
    left = [candidate for candidate in spelt if len(candidate.end) == longest]
    exact = [candidate for candidate in left if candidate.home == folders[: len(candidate.home)]]
    if exact:
        return [max(exact, key=lambda candidate: len(candidate.home))]
    shared = [_common(candidate.file.parts, folders) for candidate in left]
    return [candidate for candidate, count in zip(left, shared, strict=True) if count == max(shared)]


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Count the first parts that two paths have in common."""
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


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


def _hint(image: ViaImage, named: list[Candidate], index: FileIndex, found: set[FileBelow]) -> str:
    """Name files that may be the missing image and are not already `found`, or say that no such file could be read."""
    same_size = [file for file in index.images_by_size.get(image.size or 0, []) if file.size and file not in found]
    if same_size:
        names = first_names(["/".join(file.parts) for file in same_size])
        verb, which = ("has", "it") if len(same_size) == 1 else ("have", "the right one")
        return f", but {names} {verb} exactly its {image.size} bytes; give {which} the name that VIA has"
    if named:
        file = named[0].file
        place = "/".join(file.parts)
        advice = "if it is the image, put the annotation file beside it"
        return f", but {place} of {file.size} bytes is there, where VIA noted {image.size}; {advice}"
    name = _spellings(image.file_name)[-1][-1]
    similar = index.by_plain_stem.get(_plain_stem(name), [])
    if similar:
        nearest = min(similar, key=lambda file: file.parts[-1].casefold() != name.casefold())
        return f", but {'/'.join(nearest.parts)} is there"
    suffix = Path(name).suffix
    unread = suffix.lower() in UNREAD_SUFFIXES
    return f", and {suffix} images can't be read; save it as JPEG or PNG, and rename it in VIA" if unread else ""


def common_folder(file_names: Iterable[str]) -> tuple[str, ...]:
    """Give the folder that holds all images, as their names in annotation files say."""
    folders = ["/".join(_spellings(name)[-1][:-1]) for name in file_names]
    return PurePosixPath(posixpath.commonpath(folders or [""])).parts


def likely_place(file_name: str, source: str, top: tuple[str, ...]) -> str:
    """Give where a missing image seems to belong, relative to the indexed folder as the annotation file `source` is.

    It is the place below `top`, the folder that holds all images elsewhere, seen from the annotation file.
    """
    return "/".join([*PurePosixPath(source).parts[:-1], *_spellings(file_name)[-1][len(top) :]])


def _composed(text: str) -> str:
    # macOS may write é as e and an accent; both look the same
    return unicodedata.normalize("NFC", text)


def _plain_stem(name: str) -> str:
    return Path(name).stem.casefold()
