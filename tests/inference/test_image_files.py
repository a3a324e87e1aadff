"""Arguments of the command line and the images that they stand for."""

import os
from pathlib import Path

import pytest

from viadet.inference.image_files import find_image_files
from viadet.project.errors import UserError


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """A folder with images at two depths, and other files."""
    for name in ("b.JPG", "a.png", "sub/c.webp", "sub/d [1].jpg", "notes.txt", ".hidden.jpg", "sub/._e.jpg"):
        path = tmp_path / "photographs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photographs"


def test_a_folder_stands_for_all_images_in_it_at_any_depth(photographs):
    files = find_image_files(["photographs"])
    assert files.root == photographs
    assert files.names == ["a.png", "b.JPG", "sub/c.webp", "sub/d [1].jpg"]
    assert all(path.is_file() for path in files.paths)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("photographs/*", ["a.png", "b.JPG", "sub/c.webp", "sub/d [1].jpg"]),
        ("photographs/*.JPG", ["b.JPG"]),
        ("photographs/**/*.[jw]*", ["c.webp", "d [1].jpg"]),
        ("photographs/sub/d [1].jpg", ["d [1].jpg"]),  # a file of this name is no pattern
        ("photographs/notes.txt", ["notes.txt"]),  # what is named itself is read, whatever its name ends in
    ],
)
def test_patterns_and_files(photographs, pattern, names):
    assert find_image_files([pattern]).names == names


def test_several_arguments_keep_their_order_each_image_counts_once_and_their_common_folder_is_the_root(photographs):
    files = find_image_files(["photographs/sub/c.webp", "photographs/b.JPG", str(photographs / "sub")])
    assert files.root == photographs
    assert files.names == ["sub/c.webp", "b.JPG", "sub/d [1].jpg"]


@pytest.mark.needs("symlinks")
def test_a_linked_folder_keeps_its_name(photographs):
    Path("link").symlink_to(photographs)
    assert find_image_files(["link/../link"]).root == Path.cwd() / "link"


def test_arguments_without_images_are_all_named(photographs):
    with pytest.raises(UserError) as error:
        find_image_files(["photographs", "empty", "photographs/*.gif", "nosuch.jpg"])
    reasons = str(error.value).split("; ")
    assert reasons[0].startswith("empty has no images")
    assert "photographs/*.gif matches no images" in reasons
    assert "nosuch.jpg: no such file or folder" in reasons


def test_pictures_of_earlier_predictions_are_left_out_unless_named(photographs):
    written = ("pictures/b.jpg", "pictures/a.png.jpg", "coco_images.json", "via_project.json")
    for name in (*written, "sub/pictures/own.jpg"):
        path = photographs / "predictions" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for argument in ("photographs", "photographs/**/*"):
        files = find_image_files([argument])
        assert files.left_out == 2
        assert {Path(name).name for name in files.names} == {"a.png", "b.JPG", "c.webp", "d [1].jpg", "own.jpg"}
    for argument in ("photographs/predictions/pictures", "photographs/predictions/pictures/*.jpg"):
        files = find_image_files([argument])
        assert (files.names, files.left_out) == (["a.png.jpg", "b.jpg"], 0)
    both = find_image_files(["photographs/predictions", "photographs/predictions/pictures/b.jpg"])
    assert (sorted(both.names), both.left_out) == (["pictures/b.jpg", "sub/pictures/own.jpg"], 1)
    (photographs / "predictions/sub/pictures/own.jpg").unlink()
    with pytest.raises(UserError, match="there are no images but 2 pictures of earlier predictions; name their folder"):
        find_image_files(["photographs/predictions"])


def test_images_on_two_drives_of_windows_are_told_in_one_line(photographs, monkeypatch):
    def no_common_folder(paths):
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr(os.path, "commonpath", no_common_folder)  # as on Windows for C: and D:
    with pytest.raises(UserError, match="the images are on several drives; name those of one drive at a time"):
        find_image_files(["photographs"])


def test_images_and_videos_that_can_not_be_read_are_counted_with_what_to_do(photographs):
    assert find_image_files(["photographs"]).unread == ""
    for name in ("a.HEIC", "sub/b.heic", "sub/film.mp4"):
        (photographs / name).touch()
    reason = (
        "3 files can't be read (2 .heic, 1 .mp4); save the images as JPEG or PNG, save frames of the videos as images"
    )
    assert find_image_files(["photographs"]).unread == reason
    assert find_image_files(["photographs/sub"]).unread.startswith("2 files can't be read (1 .heic, 1 .mp4); ")
    assert find_image_files(["photographs/*.png"]).unread == ""
    Path("empty/c.avif").touch()
    with pytest.raises(UserError) as error:
        find_image_files(["empty", "photographs/*.HEIC"])
    assert str(error.value) == "; ".join(
        [
            "empty has no images; 1 file can't be read (1 .avif); save the images as JPEG or PNG",
            "photographs/*.HEIC matches no images; 1 file can't be read (1 .heic); save the images as JPEG or PNG",
        ]
    )


@pytest.mark.needs("symlinks")
def test_links_that_lead_nowhere_are_not_ignored(photographs):
    (photographs / "gone.jpg").symlink_to("nowhere.jpg")
    assert "gone.jpg" in find_image_files(["photographs"]).names
    assert find_image_files(["photographs/gone.jpg"]).names == ["gone.jpg"]


@pytest.mark.needs("any bytes in names")
def test_names_that_are_no_utf8_are_images_too(photographs):
    name = os.fsdecode(b"f\xff.jpg")
    (photographs / name).touch()
    assert name in find_image_files(["photographs"]).names
