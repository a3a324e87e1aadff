"""The folders train and val of a data set: copying them and checking what they hold."""

import shutil
from pathlib import Path

from viadet.project.errors import UserError

SPLITS = ("train", "val")
IGNORED_NAMES = {"__MACOSX", ".DS_Store"}  # left by macOS
LAYOUT = "expected the folders train and val, each with images and one VIA .json file"


def copy_splits(source: Path, folder: Path) -> None:
    """Copy `train/` and `val/` of a data set into `folder`; one that is missing is left to check_layout.

    Raises:
        UserError: names the first file that can't be copied.
    """
    for split in SPLITS:
        if (source / split).is_dir():
            try:
                shutil.copytree(source / split, folder / split, ignore=shutil.ignore_patterns(*IGNORED_NAMES))
            except shutil.Error as error:  # lists every file that could not be copied
                name, _, reason = error.args[0][0]
                raise UserError(f"{name} can't be copied ({reason})") from None


def check_layout(folder: Path, source: str) -> None:
    """Check that both splits have images and one VIA file.

    Args:
        folder: holds the splits.
        source: where they come from, for the message.

    Raises:
        UserError: says what is missing.
    """
    for split in SPLITS:
        files = [path for path in (folder / split).glob("*") if path.is_file()]
        via_files = [path for path in files if path.suffix.lower() == ".json"]
        if len(via_files) != 1 or len(files) < 2:
            images = len(files) - len(via_files)
            raise UserError(f"{source}: {LAYOUT}; {split} has {images} images and {len(via_files)} .json files")
