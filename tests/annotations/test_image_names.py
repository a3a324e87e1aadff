"""Finding the image that an annotation file names."""

import unicodedata
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viadet.annotations.image_names import index_files, resolve_images
from viadet.project.errors import UserError
from viadet.via.images import UnusableError, ViaImage


def write(folder, *names: str) -> None:
    for place, name in enumerate(names, start=1):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * place)


def resolve(folder, name: str, via_folder: str = "", size: int | None = None) -> str:
    source = f"{via_folder}/via.json" if via_folder else "via.json"
    [found] = resolve_images([ViaImage(name, [], size)], source, index_files(folder))
    if isinstance(found, UnusableError):
        raise found
    return found.name


def resolve_all(folder, sizes: dict[str, int | None], via_folder: str = "") -> list[str | None]:
    """The files of all images of one annotation file by their noted sizes; None for a missing one."""
    images = [ViaImage(name, [], size) for name, size in sizes.items()]
    found = resolve_images(images, f"{via_folder}/via.json" if via_folder else "via.json", index_files(folder))
    return [None if isinstance(file, UnusableError) else file.name for file in found]


def error_of(folder, name: str, via_folder: str = "", size: int | None = None) -> tuple[str, str]:
    with pytest.raises(UnusableError) as error:
        resolve(folder, name, via_folder, size)
    return str(error.value), error.value.reason


@pytest.mark.parametrize(
    "name",
    [
        "sub/a b (1).jpg",
        "./sub//a b (1).jpg",
        "sub\\a b (1).jpg",
        "a b (1).jpg",
        "C:\\Users\\Me\\My Images\\sub\\a b (1).jpg",
        "c:/Users/Me/a b (1).jpg",
        "\\\\server\\share\\a b (1).jpg",
        "/home/me/data/sub/a b (1).jpg",
        "../../elsewhere/sub/a b (1).jpg",
        "file:///C:/Users/Me/a%20b%20(1).jpg",
        "FILE://server/sub/a%20b%20%281%29.jpg",
        "https://example.org/x/a%20b%20(1).jpg?size=large#top",
        "http://example.org/sub/a b (1).jpg",
        "sub/a%20b%20(1).jpg",
    ],
)
def test_names_paths_and_urls_lead_to_the_image(tmp_path, name):
    write(tmp_path, "sub/a b (1).jpg", "other.jpg")
    assert resolve(tmp_path, name) == "sub/a b (1).jpg"


@pytest.mark.parametrize(
    "name",
    [
        *("100%.jpg", "a%20b.jpg", "a#1.jpg", "[x].jpg"),
        *(pytest.param(name, marks=pytest.mark.needs("posix")) for name in ("a?b.jpg", "back\\slash.jpg", "C:a.jpg")),
    ],
)
def test_signs_that_mean_something_elsewhere_are_plain_in_a_name(tmp_path, name):
    write(tmp_path, name, "a b.jpg", "slash.jpg", "a", "a.jpg")
    assert resolve(tmp_path, name) == name


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("name", ["Öhringen/Ballon à air.jpg", "風船/気球 ガ.jpg", "воздушный/шар й.jpg"])
def test_names_in_any_script_and_unicode_form(tmp_path, form, name):
    write(tmp_path, unicodedata.normalize(form, name))
    for other in ("NFC", "NFD"):
        assert resolve(tmp_path, unicodedata.normalize(other, name)) == unicodedata.normalize(form, name)


def test_the_longest_matching_end_of_a_path_decides(tmp_path):
    write(tmp_path, "x/cats/1.jpg", "x/dogs/1.jpg", "dogs/1.jpg", "2.jpg")
    assert resolve(tmp_path, "/data/x/dogs/1.jpg") == "x/dogs/1.jpg"
    assert resolve(tmp_path, "cats/1.jpg") == "x/cats/1.jpg"
    assert resolve(tmp_path, "dogs/1.jpg") == "dogs/1.jpg"  # exactly there
    assert resolve(tmp_path, "gone/2.jpg") == "2.jpg"


def test_among_equal_names_the_ones_beside_the_annotation_file_come_first(tmp_path):
    write(tmp_path, "train/1.jpg", "val/1.jpg", "train/images/2.jpg", "val/images/2.jpg", "train/via/via.json")
    assert resolve(tmp_path, "1.jpg", "train") == "train/1.jpg"
    assert resolve(tmp_path, "1.jpg", "val") == "val/1.jpg"
    assert resolve(tmp_path, "1.jpg", "train/via") == "train/1.jpg"
    assert resolve(tmp_path, "2.jpg", "train/via") == "train/images/2.jpg"
    assert resolve(tmp_path, "images/2.jpg", "val") == "val/images/2.jpg"


def test_the_bytes_that_via_noted_tell_equal_names_apart_wherever_they_lie(tmp_path):
    write(tmp_path, "cats/1.jpg", "dogs/1.jpg", "cows/1.jpg", "round_1/2.jpg", "new/tuesday/cam/2.jpg")
    assert resolve(tmp_path, "1.jpg", size=2) == "dogs/1.jpg"
    assert resolve(tmp_path, "1.jpg", "cats", size=3) == "cows/1.jpg"
    assert resolve(tmp_path, "1.jpg", "cats") == "cats/1.jpg"
    assert resolve(tmp_path, "monday/cam/2.jpg", "round_1", size=4) == "round_1/2.jpg"
    assert resolve(tmp_path, "monday/cam/2.jpg", "round_1") == "new/tuesday/cam/2.jpg"  # nothing noted


def test_a_file_of_other_bytes_is_the_image_only_where_it_should_lie(tmp_path):
    write(tmp_path, "images/1.png", "images/2.png", "images/3.png", "masks/1.png", "masks/2.png", "masks/4.png")
    noted = {"1.png": 1, "2.png": 2, "3.png": 999, "4.png": 999}
    expected = ["images/1.png", "images/2.png", "images/3.png", None]
    assert resolve_all(tmp_path, noted) == expected  # seen from where the first two are
    assert resolve_all(tmp_path, noted, "images") == expected
    assert resolve_all(tmp_path, {"4.png": 999}, "masks") == ["masks/4.png"]  # beside the annotation file
    assert resolve_all(tmp_path, {"4.png": 999}, "masks/via") == ["masks/4.png"]  # above it
    assert resolve_all(tmp_path, {"4.png": 999}, "images") == [None]
    assert resolve_all(tmp_path, {"masks/4.png": 999}) == ["masks/4.png"]  # its whole path
    assert resolve_all(tmp_path, {"4.png": None}) == ["masks/4.png"]


def test_a_file_of_other_bytes_elsewhere_is_told_with_advice_that_works(tmp_path):
    write(tmp_path, "images/1.png", "more/b/4.png")
    text = ", but more/b/4.png of 2 bytes is there, where VIA noted 999; if it is the image, put the annotation file "
    assert error_of(tmp_path, "a/4.png", size=999)[0] == f"is missing{text}beside it"
    assert resolve_all(tmp_path, {"1.png": 1, "a/4.png": 999}, "more/b") == ["images/1.png", "more/b/4.png"]


def test_a_renamed_image_is_found_by_its_bytes_and_told(tmp_path):
    write(tmp_path, "images/renamed.png", "1.txt", "masks/1.png")
    expected = ", but images/renamed.png has exactly its 1 bytes; give it the name that VIA has"
    assert error_of(tmp_path, "1.png", size=1)[0] == f"is missing{expected}"
    (tmp_path / "images/renamed.png").rename(tmp_path / "images/1.png")
    assert resolve(tmp_path, "1.png", size=1) == "images/1.png"


names = st.lists(st.sampled_from("ab"), min_size=0, max_size=3).map(lambda folders: "/".join([*folders, "1.png"]))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.dictionaries(names, st.integers(1, 3), min_size=1, max_size=6), names, names, st.integers(1, 3) | st.none())
def test_bytes_decide_before_paths_and_none_contradict_in_another_folder(files, written, beside, noted):
    with TemporaryDirectory() as folder:
        for name, size in files.items():
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_bytes(b"x" * size)
        source = str(PurePosixPath(beside).with_name("via.json"))
        [found] = resolve_images([ViaImage(written, [], noted)], source, index_files(Path(folder)))
    same_bytes = [name for name, size in files.items() if size == noted]
    if isinstance(found, UnusableError):
        assert len(same_bytes) != 1
        assert found.reason == "ambiguous name" or not same_bytes
    elif same_bytes:
        assert found.name in same_bytes
    elif noted is not None:  # the path leads there from the annotation file's folder or from one above it
        parts, folders = PurePosixPath(written).parts, PurePosixPath(beside).parts[:-1]
        homes = [folders[:depth] for depth in range(len(folders) + 1)]
        ends = [parts[start:] for start in range(len(parts))]
        assert PurePosixPath(found.name).parts in {home + end for home in homes for end in ends}


def test_an_ambiguous_name_is_an_error_with_the_candidates(tmp_path):
    write(tmp_path, *(f"{letter}/1.jpg" for letter in "abcde"))
    expected = "could be any of 5 images: a/1.jpg, b/1.jpg, c/1.jpg and 2 more"
    assert error_of(tmp_path, "1.jpg") == (expected, "ambiguous name")
    assert error_of(tmp_path, "/elsewhere/1.jpg")[0] == expected


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("001.JPG", ", but images/001.jpg is there"),
        ("Images/001.Jpg", ", but images/001.jpg is there"),
        ("001.png", ", but images/001.jpg is there"),
        ("http://example.org/001.JPEG?x", ", but images/001.jpg is there"),
        ("002.jpg", ""),
        ("sub/002.HEIC", ", and .HEIC images can't be read; save it as JPEG or PNG, and rename it in VIA"),
        ("..", ""),
        ("/", ""),
        ("http://", ""),
    ],
)
def test_a_missing_image_is_an_error_with_a_hint(tmp_path, name, hint):
    write(tmp_path, "images/001.jpg")
    assert error_of(tmp_path, name) == (f"is missing{hint}", "missing image")


def test_nothing_outside_of_the_folder_is_ever_found(tmp_path):
    write(tmp_path, "secret.jpg", "data/a.jpg")
    for name in ("../secret.jpg", str(tmp_path / "secret.jpg"), f"file://{tmp_path}/secret.jpg", "secret.jpg"):
        assert error_of(tmp_path / "data", name) == ("is missing", "missing image")


@pytest.mark.needs("symlinks")
def test_hidden_files_and_links_that_lead_nowhere_are_no_images(tmp_path):
    write(tmp_path, ".hidden.jpg", "__MACOSX/sub/._a.jpg", "sub/._a.jpg", ".thumbnails/a.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    for name in (".hidden.jpg", "._a.jpg", "a.jpg", "gone.jpg"):
        assert error_of(tmp_path, name) == ("is missing", "missing image")


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone can't be read \(.+\)"):
        index_files(tmp_path / "gone")
