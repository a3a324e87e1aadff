"""Copying a data set's folder and checking what it holds."""

from pathlib import Path

import pytest
from sources.data_sets import FILES, files_in, write_folder

from viadet.project.errors import UserError
from viadet.sources.folders import check_layout, copy_splits


def test_the_splits_are_copied_and_other_files_are_ignored(folder):
    copy_splits(write_folder(Path("mine"), FILES | {"train/.DS_Store": b"x", "notes.txt": b"x"}), folder)
    assert files_in(folder) == FILES


def test_a_file_that_can_not_be_copied_is_named(folder):
    source = write_folder(Path("mine"))
    (source / "train/gone.jpg").symlink_to("nowhere.jpg")
    with pytest.raises(UserError, match=r"^mine/train/gone\.jpg can't be copied \("):
        copy_splits(source, folder)


def test_a_complete_data_set_is_accepted(folder):
    check_layout(write_folder(folder), "mine")


@pytest.mark.parametrize(
    ("missing", "problem"),
    [
        (("val/",), "val has 0 images and 0 .json files"),
        (("train/via",), "train has 2 images and 0 .json files"),
        (("train/a.jpg", "train/b.jpg"), "train has 0 images and 1 .json files"),
    ],
)
def test_what_the_layout_lacks_is_named(missing, problem, folder):
    write_folder(folder, {name: data for name, data in FILES.items() if not name.startswith(missing)})
    with pytest.raises(UserError) as caught:
        check_layout(folder, "mine")
    assert str(caught.value) == (
        f"mine: expected the folders train and val, each with images and one VIA .json file; {problem}"
    )
