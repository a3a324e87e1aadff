"""A list of checksums that says which files belong to a data set."""

import hashlib
import re
from pathlib import Path

from viadet.project.errors import UserError


def read_manifest(path: Path) -> dict[str, str]:
    """Read lines of `sha256  train/name.jpg`, as `sha256sum` writes them.

    Raises:
        UserError: the file is absent or has another form.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"fetch.manifest: {path} can't be read ({error.strerror}); null leaves the check out") from None
    manifest = {}
    for number, line in enumerate(lines, start=1):
        match = re.fullmatch("([0-9a-f]{64})  (.+)", line)
        if not match:
            raise UserError(f"{path}, line {number}: expected `sha256  path`, got {line[:80]!r}")
        manifest[match[2]] = match[1]
    return manifest


def check_manifest(folder: Path, manifest: dict[str, str], source: str) -> None:
    """Compare every file with the manifest.

    Raises:
        UserError: names the first file that is altered, missing or too many.
    """
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name in sorted(manifest.keys() | found.keys()):
        if name not in found:
            problem = "is missing"
        elif name not in manifest:
            problem = "does not belong to it"
        elif sha256_of(found[name]) != manifest[name]:
            problem = "is altered"
        else:
            continue
        raise UserError(
            f"{source} is not the data set of fetch.manifest: {name} {problem}; "
            "get it anew, or set fetch.manifest to null"
        )


def sha256_of(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
