"""Copying the folder of a data set."""

import os
from pathlib import Path

import pytest
from sources.data_sets import FILES, files_in, write_folder

from viadet.project.errors import UserError
from viadet.sources.photographs import copy_data_set

MIXED = {"a.JPG": b"a", "Via.JSON": b"b", "day 1/\u00e9 (1).png": b"c", "day 1/x/labels.csv": b"d"}


def test_images_and_annotations_are_copied_from_any_depth_and_other_files_are_named(folder):
    others = {"notes.txt": b"x", "day 1/film.mp4": b"x"}
    hidden = {".git/a.jpg": b"x", "__MACOSX/a.jpg": b"x", "day 1/.a.jpg": b"x"}
    assert copy_data_set(write_folder(Path("mine"), MIXED | others | hidden), folder) == ["notes.txt", "day 1/film.mp4"]
    assert files_in(folder) == MIXED


@pytest.mark.needs("symlinks")
def test_links_are_followed_and_a_circle_of_them_ends(folder):
    source = write_folder(Path("mine"), {"a.jpg": b"a"})
    write_folder(Path("elsewhere"), {"b.jpg": b"b"})
    (source / "linked").symlink_to(Path("elsewhere").resolve())
    (source / "circle").symlink_to(source.resolve())
    Path("link").symlink_to("mine")
    copy_data_set(Path("link"), folder)
    assert files_in(folder) == {"a.jpg": b"a", "linked/b.jpg": b"b"}


@pytest.mark.needs("symlinks")
def test_a_file_that_can_not_be_copied_is_named(folder):
    source = write_folder(Path("mine"), FILES)
    (source / "train/gone.jpg").symlink_to("nowhere.jpg")
    with pytest.raises(UserError, match=r"^mine.train.gone\.jpg can't be copied \(.+\)"):
        copy_data_set(source, folder)


@pytest.mark.needs("any bytes in names")
def test_files_whose_names_are_not_utf8_are_all_named(folder):
    names = [os.fsdecode(name) for name in (b"f\xff/a.jpg", b"b\xfe.jpg", b"c\xfd.txt")]
    source = write_folder(Path("mine"), {"a.jpg": b"a"} | dict.fromkeys(names, b"x"))
    with pytest.raises(UserError) as error:
        copy_data_set(source, folder)
    assert str(error.value) == (
        f"2 names of files can't be kept, not being UTF-8: {source / names[1]}, {source / names[0]}; rename the files"
    )


@pytest.mark.needs("posix")
@pytest.mark.parametrize("is_pipe", [True, False])
def test_what_is_no_file_is_refused_without_waiting(folder, is_pipe):
    source = write_folder(Path("mine"), {"a.jpg": b"a"})
    if is_pipe:
        os.mkfifo(source / "b.jpg")
    else:
        (source / "b.jpg").symlink_to("/dev/zero")  # has no end
    with pytest.raises(UserError, match=r"^mine.b\.jpg is a pipe or device, and no file; delete it$"):
        copy_data_set(source, folder)


def test_a_file_whose_name_the_disk_takes_for_that_of_another_is_named(folder):
    """On a disk that ignores case, `A.jpg` is there once `a.jpg` was copied; here a file of the same name stands in."""
    source = write_folder(Path("mine"), {"a.jpg": b"a"})
    (folder / "a.jpg").write_bytes(b"other")
    with pytest.raises(UserError, match=r"^mine.a\.jpg differs from another file only in case or the form of accents"):
        copy_data_set(source, folder)
    assert (folder / "a.jpg").read_bytes() == b"other"


def test_a_folder_that_holds_the_copy_itself_is_refused(folder):
    with pytest.raises(
        UserError, match=r"^fetch\.source is '\.', which holds this pipeline's data; name the images' folder$"
    ):
        copy_data_set(Path(), folder)
