"""Reading and writing JSON, CSV and folders so that no file is ever half-written under its final name.

What is being written is called `.NAME.tmp`. DVC runs a stage once at a time and removes its outputs before, so a killed
process leaves no more than such a file or folder, which the next one replaces.
"""

import contextlib
import csv
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from viadet.project.errors import UserError


@contextlib.contextmanager
def replaced_file(path: Path, flush: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes `path`'s place only if the block ends without an error.

    On Windows, the block must have closed the file, and no process may have the old one open. `flush` has the bytes on
    the disk before the name is: after a power cut either the old file or the new one is there. For each of thousands
    of files in a new folder, that would take longer than all else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    temporary.unlink(missing_ok=True)  # of a killed process
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
    """Yield an empty folder; it takes `path`'s place only if the block ends without an error.

    No system replaces a folder in one step, so the old one is moved away first: a process that is killed between the
    two steps leaves neither under its name.
    """
    temporary = temporary_path(path)
    shutil.rmtree(temporary, ignore_errors=True)  # of a killed process
    new = temporary / "new"
    try:
        new.mkdir(parents=True)
        yield new
        if path.exists():
            path.replace(temporary / "old")
        new.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def temporary_path(path: Path) -> Path:
    """Name what stands for a file or folder while it is written."""
    return path.with_name(f".{path.name}.tmp")


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
