"""Checksums: a manifest lists the files of a data set, each with its sha256."""

import re
from pathlib import Path

from viadet.project.errors import UserError
from viadet.project.files import sha256_of


def read_manifest(path: Path) -> dict[str, str]:
    """Read lines of `sha256  train/name.jpg`, as `sha256sum` writes them.

    Returns:
        The sha256 of each file, as 64 hexadecimal digits.

    Raises:
        UserError: the file is missing or has another format.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(
            f"fetch.manifest: {path} can't be read ({error.strerror}); set it to null to skip the check"
        ) from None
    manifest = {}
    for number, line in enumerate(lines, start=1):
        match = re.fullmatch("([0-9a-f]{64})  (.+)", line)
        if not match:
            raise UserError(f"{path}, line {number}: expected `sha256  path`, got {line[:80]!r}")
        manifest[match[2]] = match[1]
    return manifest


def check_manifest(folder: Path, manifest: dict[str, str], source: str) -> None:
    """Compare all files of a folder with a manifest.

    Args:
        folder: holds the splits.
        manifest: as read_manifest gives it.
        source: where the files come from, for the message.

    Raises:
        UserError: names the first file that differs, is missing or is not listed.
    """
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name in sorted(manifest.keys() | files.keys()):
        if name not in files:
            problem = "is missing"
        elif name not in manifest:
            problem = "is not listed"
        elif sha256_of(files[name]) != manifest[name]:
            problem = "has another checksum"
        else:
            continue
        raise UserError(
            f"{source} does not match fetch.manifest: {name} {problem}; get it again, or set fetch.manifest to null"
        )
