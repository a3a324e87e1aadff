"""Checking a data set against a list of checksums."""

from pathlib import Path

import pytest
from sources.data_sets import FILES, MANIFEST, write_folder

from viadet.project.errors import UserError
from viadet.sources.photographs import check_manifest, read_manifest


@pytest.fixture
def manifest(folder):
    """The manifest of FILES, which are in the folder."""
    Path("manifest.sha256").write_text(MANIFEST, encoding="utf-8")
    write_folder(folder)
    return read_manifest(Path("manifest.sha256"))


def test_listed_files_are_accepted(manifest, folder):
    assert list(manifest) == list(FILES)
    check_manifest(folder, manifest, "mine")


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("train/b.jpg", b"other", "has another checksum"),
        ("train/b.jpg", None, "is missing"),
        ("val/d.jpg", b"new", "is not listed"),
    ],
)
def test_a_file_that_differs_from_the_manifest_is_named(name, data, problem, manifest, folder):
    if data is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(data)
    with pytest.raises(UserError) as caught:
        check_manifest(folder, manifest, "mine")
    assert str(caught.value) == (
        f"mine does not match fetch.manifest: {name} {problem}; get it again, or set fetch.manifest to null"
    )


def test_a_missing_manifest_is_named(folder):
    with pytest.raises(
        UserError, match=r"manifest\.sha256 can't be read \(No such file or directory\); set it to null"
    ):
        read_manifest(Path("manifest.sha256"))


@pytest.mark.parametrize("line", ["abc  train/a.jpg", f"{'0' * 64} train/a.jpg", "\xff\x00"])
def test_a_malformed_manifest_is_named_with_the_line(line, folder):
    Path("manifest.sha256").write_text(f"{'0' * 64}  train/a.jpg\n{line}\n", encoding="latin-1")
    with pytest.raises(UserError, match=r"manifest\.sha256, line 2: expected `sha256  path`, got"):
        read_manifest(Path("manifest.sha256"))
