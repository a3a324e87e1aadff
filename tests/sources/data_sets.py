"""Small data sets as folders and archives; what is in their files does not matter before the next stage."""

import hashlib
import zipfile
from pathlib import Path

FILES = {
    "train/a.jpg": b"first" * 1000,
    "train/b.jpg": b"second" * 1000,
    "train/via_region_data.json": b"{}",
    "val/c.jpg": b"third" * 1000,
    "val/via_region_data.json": b"{}",
}
MANIFEST = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in FILES.items())
ARCHIVE = "balloon_dataset.zip"


def write_folder(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_zip(path: Path, files: dict[str, bytes] = FILES, prefix: str = "balloon/") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(prefix + name, data)
    return path


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
