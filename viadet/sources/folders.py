"""Copying the folder of a data set."""

import shutil
from pathlib import Path

from viadet.project.errors import UserError
from viadet.via.data_files import files_below, is_data_file


def copy_data_set(source: Path, folder: Path) -> list[str]:
    """Copy the images, .json and .csv files of a folder, at any depth; links are followed.

    Returns:
        The other files, relative to `source`, without hidden ones.

    Raises:
        UserError: `source` holds `folder`, a file can't be copied, or the disk takes two names for the same.
    """
    if folder.resolve().is_relative_to(source.resolve()):
        raise UserError(f"fetch.source is {str(source)!r}, which holds this pipeline's data; name the images' folder")
    others = []
    for path in files_below(source):
        name = path.relative_to(source)
        if not is_data_file(path):
            others.append(name.as_posix())
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (folder / name).exists():
            raise UserError(
                f"{path} differs from another file only in case or the form of accents, which makes no difference on "
                "this disk; give one of them another name"
            )
        try:
            shutil.copy2(path, folder / name)
        except OSError as error:
            raise UserError(f"{path} can't be copied ({error.strerror}); delete it or make it readable") from None
    return others
