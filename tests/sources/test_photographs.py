"""Data sets from every kind of source."""

import os
from pathlib import Path

import pytest
from projects import REPOSITORY
from sources.data_sets import ARCHIVE, FILES, MANIFEST, files_in, write_folder, write_zip

from viadet.project.errors import UserError
from viadet.project.params import FetchParams, RenderedParams
from viadet.sources.download import is_url
from viadet.sources.photographs import fetch_photographs

MIRROR = os.environ.get("BALLOON_MIRROR", str(REPOSITORY.parent / "shared" / "mirror"))


def params(source: str | Path, manifest: bool = True) -> FetchParams:
    """Params for a source; the manifest lists FILES."""
    Path("manifest.sha256").write_text(MANIFEST, encoding="utf-8")
    return FetchParams(source=str(source), manifest="manifest.sha256" if manifest else None, rendered=None)


def write_source(kind: str, files: dict[str, bytes] = FILES) -> Path:
    return write_zip(Path("a.zip"), files) if kind == "zip" else write_folder(Path("mine"), files)


def failure(params: FetchParams, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        fetch_photographs(params, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["url", "zip", "folder"])
def test_every_kind_of_source_gives_the_same_files(kind, folder, server):
    source = write_source("folder" if kind == "folder" else "zip")
    if kind == "url":
        server.files[f"/{ARCHIVE}"] = source.read_bytes()
        source = f"{server.url}/{ARCHIVE}"
    fetch_photographs(params(source), folder)
    assert files_in(folder) == FILES
    assert not list(Path().glob(".fetch*"))


def test_the_rendered_sample_needs_no_files_and_differs_between_splits(folder):
    rendered = RenderedParams(train_images=3, val_images=2, image_size=64, seed=0)
    fetch_photographs(FetchParams(source="rendered", manifest=None, rendered=rendered), folder)
    files = files_in(folder)
    names = ("train/0000.jpg", "train/0001.jpg", "train/0002.jpg", "val/0000.jpg", "val/0001.jpg")
    assert set(files) == {*names, "train/via_region_data.json", "val/via_region_data.json"}
    assert len({files[name] for name in names}) == 5


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_a_source_without_images_and_annotations_is_refused(kind, folder):
    source = write_source(kind, {"notes.txt": b"x"})
    line = failure(params(source, manifest=False), folder)
    assert line.startswith(
        f"fetch.source is '{source}', which has no images and no .json or .csv files but 1 other file"
    )
    assert line.endswith("notes.txt; add them")


def test_a_file_that_is_no_zip_archive_in_place_of_the_folder_is_named(folder):
    Path("own").write_text('{"a VIA file": {}}', encoding="utf-8")
    line = failure(params("own", manifest=False), folder)
    assert line.startswith("fetch.source is 'own', which is neither a folder nor a valid zip archive; put or link")


def test_a_path_may_begin_in_the_home_folder(folder, monkeypatch):
    for variable in ("HOME", "USERPROFILE"):  # Windows' own
        monkeypatch.setenv(variable, str(folder.parent))
    write_source("folder")
    fetch_photographs(params("~/mine"), folder)
    assert files_in(folder) == FILES


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_the_manifest_is_checked_for_any_source_unless_it_is_null(kind, folder):
    files = FILES | {"train/b.jpg": b"other"}
    source = write_source(kind, files)
    assert f"{source} does not match fetch.manifest: train/b.jpg has another" in failure(params(source), folder)
    (folder.parent / "again").mkdir()
    fetch_photographs(params(source, manifest=False), folder.parent / "again")
    assert files_in(folder.parent / "again") == files


def test_a_download_that_is_shorter_than_the_file_is_refused(folder, server):
    server.files[f"/{ARCHIVE}"] = write_source("zip").read_bytes()
    server.faults = ["announce less"]
    assert f"{ARCHIVE} is not a valid zip archive" in failure(params(f"{server.url}/{ARCHIVE}"), folder)


def test_the_balloon_photographs_match_the_committed_manifest(folder, monkeypatch):
    if not is_url(MIRROR) and not Path(MIRROR, ARCHIVE).is_file():
        pytest.skip(f"the photographs are not here: no {ARCHIVE} in {MIRROR}; name a mirror with BALLOON_MIRROR")
    monkeypatch.setenv("BALLOON_MIRROR", MIRROR)
    manifest = str(REPOSITORY / "data/balloon/manifest.sha256")
    source = f"https://github.com/matterport/Mask_RCNN/releases/download/v2.1/{ARCHIVE}"
    fetch_photographs(FetchParams(source=source, manifest=manifest, rendered=None), folder)
    assert len(files_in(folder)) == 76
