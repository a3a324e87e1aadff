"""Unpacking real zip archives: damaged and malicious ones are refused."""

import stat
import sys
import zipfile
from pathlib import Path

import pytest
from sources.data_sets import FILES, files_in, write_zip

from viadet.project.errors import UserError
from viadet.sources import archives
from viadet.sources.archives import check_entries, unpack_data_set


def failure(path: Path, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        unpack_data_set(path, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refusal(path: Path, folder: Path) -> str:
    """Unpack, which must fail before anything is written; returns the line."""
    line = failure(path, folder)
    assert not list(folder.iterdir())
    return line


def add_entry(path: Path, entry: str | zipfile.ZipInfo, data: bytes) -> Path:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, data)
    return path


@pytest.mark.parametrize("prefix", ["", "one/two/"])
def test_folders_above_all_files_are_left_out_and_other_files_are_named(prefix, folder):
    other = {"__MACOSX/train/._a.jpg": b"x", "train/.DS_Store": b"x", "README.txt": b"x"}
    assert unpack_data_set(write_zip(Path("a.zip"), FILES | other, prefix), folder) == [f"{prefix}README.txt"]
    assert files_in(folder) == FILES


def test_any_other_folders_keep_their_places(folder):
    files = {"day 1/a.jpg": b"a", "day 2/a.JPG": b"b", "via.csv": b"c", "more/via.JSON": b"d"}
    unpack_data_set(write_zip(Path("a.zip"), files), folder)
    assert files_in(folder) == files


@pytest.mark.parametrize(
    "name",
    [
        "../evil.jpg",
        "train/../../evil.jpg",
        "/evil.jpg",
        "C:/evil.jpg",
        pytest.param("..\\evil.jpg", marks=pytest.mark.needs("posix")),  # zipfile turns backslashes there
        pytest.param("\\evil.jpg", marks=pytest.mark.needs("posix")),
        "__MACOSX/../../x",
        "../",
    ],
)
def test_an_entry_that_points_outside_is_refused_by_name(name, folder):
    line = refusal(add_entry(write_zip(Path("a.zip")), name, b"evil"), folder)
    assert f"a.zip: entry {name!r} points outside of the archive; nothing was unpacked" in line
    assert not list(folder.parent.rglob("evil.jpg"))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_a_link_or_device_is_refused_by_name(kind, folder):
    link = zipfile.ZipInfo("balloon/train/link.jpg")
    link.create_system, link.external_attr = 3, (kind | 0o777) << 16
    line = refusal(add_entry(write_zip(Path("a.zip")), link, b"/etc/passwd"), folder)
    assert "'balloon/train/link.jpg' is a link or a device" in line


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("balloon/train/A.JPG", "differs from 'balloon/train/a.jpg' only in case, slashes or accents' form"),
        pytest.param(
            "balloon\\train\\a.jpg",
            "differs from 'balloon/train/a.jpg' only in case, slashes or accents' form",
            marks=pytest.mark.needs("posix"),
        ),
        ("balloon/train/a.jpg", "occurs twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entries_that_would_overwrite_each_other_are_refused(name, problem, folder):
    line = refusal(add_entry(write_zip(Path("a.zip")), name, b"other"), folder)
    assert f"{name!r} {problem}; nothing was unpacked" in line


def test_names_that_macos_takes_for_the_same_are_refused(folder):
    path = write_zip(Path("a.zip"), {"train/\u00e9.jpg": b"x"}, prefix="")
    line = refusal(add_entry(path, "train/e\u0301.jpg", b"other"), folder)
    assert "differs from 'train/\u00e9.jpg' only in case, slashes or accents' form" in line


@pytest.mark.parametrize("name", ["train/a:b.jpg", "train/aux.jpg", "con/1.jpg", "train/a.jpg ", "train/b./1.jpg"])
def test_an_entry_whose_name_windows_refuses_is_refused_there(name, folder, monkeypatch):
    path = add_entry(folder / "a.zip", name, b"x")
    monkeypatch.setattr(sys, "platform", "linux")
    check_entries("a.zip", zipfile.ZipFile(path).infolist())
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UserError, match=f"a.zip: entry '{name}' has a name that Windows refuses; nothing was unpacked"):
        check_entries("a.zip", zipfile.ZipFile(path).infolist())


def test_an_archive_that_would_fill_the_disk_is_refused(folder, monkeypatch):
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 10_000)
    assert "a.zip would unpack to 0 MiB, allowed are" in refusal(write_zip(Path("a.zip")), folder)


def test_an_archive_with_an_implausible_ratio_is_refused(folder):
    path = write_zip(Path("a.zip"), FILES | {"train/zeros.bmp": bytes(20 << 20)})
    line = refusal(path, folder)
    assert "a.zip would unpack to 20 MiB, allowed are 50 GiB and 100 times the archive's size" in line


@pytest.mark.parametrize("damage", ["cut", "bytes", "no zip", "empty"])
def test_a_damaged_archive_is_refused(damage, folder):
    data = bytearray(write_zip(Path("a.zip")).read_bytes())
    if damage == "bytes":
        start = len("balloon/train/a.jpg") + 30  # where the data of the first file begin
        data[start : start + 8] = b"\xff" * 8
    Path("a.zip").write_bytes({"cut": data[:-200], "bytes": data, "no zip": b"<html>", "empty": b""}[damage])
    assert "a.zip is not a valid zip archive (" in failure(Path("a.zip"), folder)


def test_an_archive_that_lacks_its_last_byte_is_refused(folder):
    path = write_zip(Path("a.zip"))
    path.write_bytes(path.read_bytes()[:-1])
    assert "a.zip is not a valid zip archive (" in failure(path, folder)
