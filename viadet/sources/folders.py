"""The folder of a data set: which of its files belong to it, and copying them."""

import os
import shutil
from pathlib import Path, PurePath

from viadet.images.decoding import SUFFIXES
from viadet.project.errors import UserError

ANNOTATION_SUFFIXES = {".json", ".csv"}


def is_hidden(path: PurePath) -> bool:
    """Tell whether a relative path or a folder above it is hidden, or left by macOS."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def is_data_file(path: PurePath) -> bool:
    """Tell whether a file may be an image or an annotation file, by its suffix."""
    return path.suffix.lower() in SUFFIXES | ANNOTATION_SUFFIXES


def copy_data_set(source: Path, folder: Path) -> list[str]:
    """Copy the images, .json and .csv files of a folder, at any depth; links are followed.

    Returns:
        The other files, relative to `source`, without hidden ones.

    Raises:
        UserError: `source` holds `folder`, or a file can't be copied.
    """
    if folder.resolve().is_relative_to(source.resolve()):
        raise UserError(f"fetch.source is {str(source)!r}, which holds {folder.parent} itself; name the images' folder")
    others = []
    for path in _files_below(source):
        name = path.relative_to(source)
        if not is_data_file(name):
            others.append(name.as_posix())
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copy2(path, folder / name)
        except OSError as error:
            raise UserError(f"{path} can't be copied ({error.strerror}); delete it or make it readable") from None
    return others


def _files_below(source: Path) -> list[Path]:
    """List the files at any depth, each folder once even if links lead to it again, without hidden ones."""
    files, visited = [], set()
    for top, folders, names in os.walk(source, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_hidden(PurePath(name)))
        if os.path.realpath(top) in visited:
            folders.clear()
            continue
        visited.add(os.path.realpath(top))
        files += [Path(top, name) for name in sorted(names) if not is_hidden(PurePath(name))]
    return files
