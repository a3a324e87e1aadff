"""The folder of a data set: its two splits, copied and checked."""

import shutil
from pathlib import Path

from viadet.project.errors import UserError

SPLITS = ("train", "val")
SKIPPED_PARTS = {"__MACOSX", ".DS_Store"}
LAYOUT = "expected the folders train and val, each with images and one VIA .json file"


def copy_splits(source: Path, folder: Path) -> None:
    """Copy the splits of a user's folder.

    Raises:
        UserError: names a file that can't be copied.
    """
    for split in SPLITS:
        if (source / split).is_dir():
            try:
                shutil.copytree(source / split, folder / split, ignore=shutil.ignore_patterns(*SKIPPED_PARTS))
            except shutil.Error as error:  # lists all files that it could not copy
                name, _, reason = error.args[0][0]
                raise UserError(f"{name} can't be copied ({reason})") from None


def check_layout(folder: Path, source: str) -> None:
    """Check that both splits are there with annotations and images.

    Raises:
        UserError: says what is missing.
    """
    for split in SPLITS:
        files = [path for path in (folder / split).glob("*") if path.is_file()]
        annotations = [path for path in files if path.suffix.lower() == ".json"]
        if len(annotations) != 1 or len(files) < 2:
            images = len(files) - len(annotations)
            raise UserError(f"{source}: {LAYOUT}; {split} has {images} images and {len(annotations)} .json files")
