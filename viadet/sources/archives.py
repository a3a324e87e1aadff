"""Unpacking the data set in a zip archive; malicious archives are refused."""

import lzma
import posixpath
import re
import shutil
import stat
import sys
import unicodedata
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from viadet.project.errors import UserError
from viadet.via.data_files import is_data_file, is_hidden

MAX_UNPACKED_BYTES = 50 * 2**30  # far above any such data set; stops an archive made to fill the disk
REFUSED_BY_WINDOWS = re.compile(  # as a file's name, or it would write to a device or a hidden stream
    r'[<>:"|?*\x00-\x1f]|[. ]$|^(con|prn|aux|nul|(com|lpt)[0-9])\s*(\..*)?$', re.IGNORECASE
)
MAX_RATIO = 100  # of unpacked to packed bytes; photographs hardly shrink


def unpack_data_set(archive_path: Path, folder: Path) -> list[str]:
    """Unpack the images, .json and .csv files of a zip archive into `folder`, without the folders above all of them.

    Returns:
        The other files, without hidden ones.

    Raises:
        UserError: the archive is damaged or malicious.
    """
    try:
        with zipfile.ZipFile(archive_path) as archive:
            entries = archive.infolist()
            _check_size(archive_path, entries)
            check_entries(archive_path.name, entries)
            paths = {entry.filename: _path_of(entry.filename) for entry in entries if not entry.is_dir()}
            names = [name for name, path in paths.items() if not is_hidden(path)]
            data_paths = {name: paths[name] for name in names if is_data_file(paths[name])}
            top = posixpath.commonpath([path.parent for path in data_paths.values()] or [""])
            for name, path in data_paths.items():
                target = folder / path.relative_to(top)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
            return [name for name in names if name not in data_paths]
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError) as error:
        raise UserError(f"{archive_path.name} is not a valid zip archive ({error}); download it again") from None


def _check_size(archive_path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Refuse a zip bomb, by the sizes that its directory states."""
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > min(MAX_UNPACKED_BYTES, MAX_RATIO * archive_path.stat().st_size):
        raise UserError(
            f"{archive_path.name} would unpack to {unpacked / 2**20:.0f} MiB, allowed are "
            f"{MAX_UNPACKED_BYTES >> 30} GiB and {MAX_RATIO} times the archive's size; nothing was unpacked"
        )


def check_entries(archive_name: str, entries: list[zipfile.ZipInfo]) -> None:
    """Refuse entries that would be written outside of the folder or over each other, and special files.

    Raises:
        UserError: names the entry.
    """
    files = {}  # the name of each file by its path, where case and the form of accents make no difference
    for entry in entries:
        name = entry.filename
        path = _path_of(name)
        first_name = name if entry.is_dir() else files.setdefault(_plain(path), name)
        if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name):
            problem = "points outside of the archive"
        elif stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            problem = "is a link or a device"
        elif sys.platform == "win32" and any(REFUSED_BY_WINDOWS.search(part) for part in path.parts):
            problem = "has a name that Windows refuses"
        elif first_name is not name:
            problem = (
                "occurs twice"
                if first_name == name
                else f"differs from {first_name!r} only in case, slashes or accents' form"
            )
        else:
            continue
        raise UserError(f"{archive_name}: entry {name!r} {problem}; nothing was unpacked")


def _plain(path: PurePosixPath) -> str:
    """Give equal texts for paths that Windows or macOS take for the same."""
    return unicodedata.normalize("NFC", path.as_posix().casefold())


def _path_of(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))
