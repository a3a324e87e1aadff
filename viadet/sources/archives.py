"""Unpacking a zip that holds the splits; hostile archives are refused."""

import lzma
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from viadet.project.errors import UserError
from viadet.sources.folders import LAYOUT, SKIPPED_PARTS, SPLITS

MAX_UNPACKED_BYTES = 50 * 2**30  # far above any such data set; stops an archive made to fill the disk
MAX_RATIO = 100  # of unpacked to packed bytes; photographs hardly shrink


def unpack(archive_path: Path, folder: Path) -> None:
    """Unpack the splits of a zip into `folder`, without what stands before `train/` and `val/`.

    Raises:
        UserError: no whole zip, an entry that points outside of the folder or is a link, or no one pair of splits.
    """
    try:
        with zipfile.ZipFile(archive_path) as archive:
            entries = archive.infolist()
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > min(MAX_UNPACKED_BYTES, MAX_RATIO * archive_path.stat().st_size):
                raise UserError(
                    f"{archive_path.name} unpacks to {unpacked / 2**20:.0f} MiB, allowed are "
                    f"{MAX_UNPACKED_BYTES >> 30} GiB and {MAX_RATIO} times its own size; not unpacked"
                )
            check_entries(archive_path.name, entries)
            targets = split_files(entry.filename for entry in entries if not entry.is_dir())
            if targets is None:
                raise UserError(f"{archive_path.name}: {LAYOUT}; it holds several such pairs")
            for name, target in targets.items():
                (folder / target).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, (folder / target).open("wb") as file:
                    shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError) as error:
        raise UserError(f"{archive_path.name} is no whole zip archive ({error}); get it again") from None


def check_entries(archive_name: str, entries: list[zipfile.ZipInfo]) -> None:
    """Refuse entries that could write elsewhere, over each other, or are no files.

    Raises:
        UserError: names the entry.
    """
    seen = {}
    for entry in entries:
        name = entry.filename
        path = PurePosixPath(name.replace("\\", "/"))
        same = name if entry.is_dir() else seen.setdefault(path.as_posix().casefold(), name)
        if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name):
            problem = "points outside"
        elif stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            problem = "is a link or a device"
        elif same is not name:
            problem = "is there twice" if same == name else f"differs from {same!r} by case only"
        else:
            continue
        raise UserError(f"{archive_name}: entry {name!r} {problem}; nothing was unpacked")


def split_files(names: Iterable[str]) -> dict[str, str] | None:
    """Map the names below `train/` and `val/` to names relative to `data/raw`; None: the two don't lie side by side."""
    targets, prefixes = {}, set()
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        split = next((index for index, part in enumerate(parts[:-1]) if part in SPLITS), None)
        if split is not None and not SKIPPED_PARTS & set(parts):
            targets[name] = "/".join(parts[split:])
            prefixes.add(parts[:split])
    return targets if len(prefixes) <= 1 else None
