"""Reading and writing JSON, CSV and folders so that no file is ever half-written under its final name."""

import contextlib
import csv
import functools
import hashlib
import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from viadet.project.errors import UserError

# of a file or folder NAME: `.NAME.PID.tmp` while it is written, `.NAME.PID.old` the folder that it replaces
TEMPORARY_NAME = re.compile(r"\.(?P<name>.+)\.[0-9]+\.(?:tmp|old)", re.DOTALL)


@contextlib.contextmanager
def replaced_file(path: Path, flush: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes `path`'s place only if the block ends without an error.

    On Windows, the block must have closed the file, and no process may have the old one open.

    Args:
        path: of the file.
        flush: have the bytes on the disk before the name is: after a power cut either the old file or the new one is
            there. For each of thousands of files in a new folder, that would take longer than all else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_unused(_first_temporaries(path.parent.absolute()).pop(path.name, []), path)
    temporary = temporary_path(path, "tmp")
    try:
        yield temporary
        if flush:
            with temporary.open("r+b") as file:  # writable: Windows refuses to flush a file that is open for reading
                os.fsync(file.fileno())
        temporary.replace(path)
        if flush:
            flush_names(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replaced_dir(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; it takes `path`'s place only if the block ends without an error.

    No system replaces a folder in one step, so the old one is renamed, then the new one. A process that is killed
    between the two leaves the old folder whole, and the next one puts it back (`remove_leftovers`).
    """
    remove_leftovers(path.parent, path.name)
    temporary, old = temporary_path(path, "tmp"), temporary_path(path, "old")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if path.exists():
            path.replace(old)
        temporary.replace(path)
        if old.exists():
            old.replace(temporary)  # before it is deleted: only a whole folder may be put back
    finally:
        if old.exists() and not path.exists():
            old.replace(path)
        shutil.rmtree(temporary, ignore_errors=True)


def flush_names(folder: Path) -> None:
    """Have the system write the names in a folder to the disk, where it can: Windows opens no folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):  # some file systems can't; the file itself is written by now
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove the temporary files and folders of killed processes; put a folder back whose replacement was cut short.

    Those of processes that still run are left alone.

    Args:
        folder: that is searched, without its subfolders.
        name: of the file or folder that was replaced; None: all.
    """
    for target_name, temporaries in _temporaries(folder).items():
        if name in (None, target_name):
            _remove_unused(temporaries, folder / target_name)


def _temporaries(folder: Path) -> dict[str, list[Path]]:
    """List the temporary files and folders in a folder, by the name of what they stand for."""
    temporaries = defaultdict(list)
    for path in folder.glob(".*"):
        if match := TEMPORARY_NAME.fullmatch(path.name):
            temporaries[match["name"]].append(path)
    return temporaries


# By absolute path, as they were when this process wrote its first file there: a folder may get 100,000 files.
_first_temporaries = functools.cache(_temporaries)


def _remove_unused(temporaries: list[Path], target: Path) -> None:
    """Remove those temporaries of `target` whose process was killed, or put one back in its place."""
    for path in temporaries:
        *_, pid, kind = path.name.split(".")
        if _is_running(int(pid)):
            continue
        if kind == "old" and not target.exists():
            path.replace(target)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def temporary_path(path: Path, kind: str) -> Path:
    """Name what stands for a file or folder for as long as this process runs: `remove_leftovers` knows it by that.

    Args:
        path: of the file or folder.
        kind: "tmp" or "old".
    """
    return path.with_name(f".{path.name}.{os.getpid()}.{kind}")


def _is_running(pid: int) -> bool:
    """Tell whether another process has this id; what has this process's own is of an earlier one, as in containers."""
    return pid != os.getpid() and psutil.pid_exists(pid)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8 with line ends as they are: on Windows, too, equal texts are equal files."""
    with replaced_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, data: Any) -> None:
    """Write `data` with sorted keys; NaN and infinity are refused, as JSON has neither."""
    with replaced_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        # piece by piece: as one text, the detections of thousands of images would take a gigabyte
        json.dump(data, file, indent=1, sort_keys=True, allow_nan=False)
        file.write("\n")


def read_json(path: Path) -> Any:
    """Read a JSON file that an earlier stage wrote.

    Raises:
        UserError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run `dvc repro` to create it") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); delete it and run `dvc repro`") from None


def write_csv(path: Path, rows: list[dict[str, float | str]], columns: list[str]) -> None:
    """Write flat rows for `dvc plots`, floats with six significant digits."""
    with replaced_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            values = (row[column] for column in columns)
            writer.writerow([format(value, ".6g") if isinstance(value, float) else value for value in values])


def sha256_of(path: Path) -> str:
    """Compute a file's sha256, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
