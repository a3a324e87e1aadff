"""Finding VIA's annotation files by their content, and reading any of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from viadet.annotations.data_files import is_annotation_file
from viadet.annotations.via import ViaImage
from viadet.annotations.via3 import images_of_project, images_of_via3_csv, is_via3_csv, is_via3_json
from viadet.annotations.via_csv import images_of_csv, is_via_csv
from viadet.annotations.via_json import images_of_json, is_via_json, load_json
from viadet.project.errors import UserError

# In a file that can't be read, words that only VIA writes: it was cut off, edited, or saved by another program.
VIA_WORDS = ("_via_img_metadata", "shape_attributes", "vid_list", "spatial_coordinates")


class OtherFileError(UserError):
    """A JSON or CSV file that VIA did not write."""

    def __init__(self, path: Path, kind: str) -> None:
        super().__init__(f"{path} is not a VIA file: {kind}")
        self.kind = kind  # what it is instead


class AnnotationFiles(NamedTuple):
    """The JSON and CSV files of a folder, in its order."""

    images: dict[Path, list[ViaImage]]  # of the files that VIA wrote; none of a damaged one
    damaged: dict[Path, str]  # what is wrong with a file that VIA wrote; begins with its path
    others: dict[Path, str]  # what a file is that VIA did not write


def read_annotation_files(paths: Iterable[Path]) -> AnnotationFiles:
    """Read the VIA files among all files of a folder, by their content; .json and .csv in any case."""
    files = AnnotationFiles({}, {}, {})
    for path in paths:
        if not is_annotation_file(path):
            continue
        try:
            files.images[path] = read_annotation_file(path)
        except OtherFileError as error:
            files.others[path] = error.kind
        except UserError as error:
            files.images[path] = []
            files.damaged[path] = str(error)
    return files


def read_annotation_file(path: Path) -> list[ViaImage]:
    """Read the JSON or CSV file of any version of VIA, in the file's order.

    Raises:
        OtherFileError: VIA did not write it.
        UserError: it is missing or damaged; names the file and the place in it.
    """
    text = _read_text(path)
    return _images_of_csv(text, path) if path.suffix.lower() == ".csv" else _images_of_json(text, path)


def _read_text(path: Path) -> str:
    """Read UTF-8, with or without a byte order mark."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        if not _has_via_words(path.read_bytes().decode("latin-1").replace("\0", "")):  # UTF-16 is ASCII with zeros
            raise OtherFileError(path, "not UTF-8 text") from None
        raise UserError(f"{path} can't be read as UTF-8 ({error}); export it again, or save it as UTF-8") from None


def _images_of_csv(text: str, path: Path) -> list[ViaImage]:
    if is_via3_csv(text):
        return images_of_via3_csv(text, path)
    if is_via_csv(text):
        return images_of_csv(text, path)
    has_segments = "temporal_segment_start" in text
    content = "CSV without VIA's columns" if text.strip() else "an empty file"
    raise OtherFileError(path, "VIA 3's temporal segments" if has_segments else content)


def _images_of_json(text: str, path: Path) -> list[ViaImage]:
    try:
        data: Any = load_json(text, path)
    except UserError:
        if _has_via_words(text):
            raise
        raise OtherFileError(path, "not valid JSON" if text.strip() else "an empty file") from None
    if is_via3_json(data):
        return images_of_project(data, path)
    if is_via_json(data):
        return images_of_json(data, path)
    is_coco = isinstance(data, dict) and {"images", "annotations"} <= data.keys()
    raise OtherFileError(path, "COCO annotations" if is_coco else "JSON without VIA's annotations")


def _has_via_words(text: str) -> bool:
    return any(word in text for word in VIA_WORDS)
