"""Finding VIA's annotation files by their content, and reading any of them."""

from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from viadet.via.csv_files import images_of_csv, separator_and_rest
from viadet.via.data_files import ANNOTATION_SUFFIXES
from viadet.via.images import DamagedFileError, ViaImage
from viadet.via.json_files import images_of_json, parse_json
from viadet.via.via3 import images_of_project, images_of_via3_csv

VIA3_PARTS = ("file", "view", "metadata", "attribute")  # of a project
# In a file that can't be read, words that only VIA writes: it was cut off, edited, or saved by another program.
VIA_WORDS = ("_via_img_metadata", "shape_attributes", "vid_list", "spatial_coordinates")


class OtherFileError(Exception):
    """A JSON or CSV file that VIA did not write; the text says what it is."""


class AnnotationFiles(NamedTuple):
    """The JSON and CSV files of a folder by their names, which are relative to it, in their order."""

    images: dict[str, list[ViaImage]]  # of the files that VIA wrote; none of a damaged one
    damaged: dict[str, DamagedFileError]  # what is wrong with a file that VIA wrote
    others: dict[str, str]  # what a file is that VIA did not write


def read_annotation_files(folder: Path, names: Iterable[str]) -> AnnotationFiles:
    """Read the VIA files among all files of a folder, by their content; .json and .csv in any case."""
    files = AnnotationFiles({}, {}, {})
    for name in names:
        if PurePath(name).suffix.lower() not in ANNOTATION_SUFFIXES:
            continue
        try:
            files.images[name] = read_annotation_file(folder / name)
        except OtherFileError as error:
            files.others[name] = str(error)
        except DamagedFileError as error:
            files.images[name] = []
            files.damaged[name] = error
    return files


def read_annotation_file(path: Path) -> list[ViaImage]:
    """Read the JSON or CSV file of any version of VIA, in the file's order.

    Raises:
        OtherFileError: VIA did not write it.
        DamagedFileError: it is missing or damaged.
    """
    text = _read_text(path)
    return _images_of_csv(text) if path.suffix.lower() == ".csv" else _images_of_json(text)


def _read_text(path: Path) -> str:
    """Read UTF-8, with or without a byte order mark."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DamagedFileError(f"can't be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        text = path.read_bytes().decode("latin-1").replace("\0", "")  # UTF-16 is ASCII with zeros
        if not any(word in text for word in VIA_WORDS):
            raise OtherFileError("not UTF-8 text") from None
        raise DamagedFileError(f"can't be read as UTF-8 ({error}); export it again, or save it as UTF-8") from None


def _images_of_csv(text: str) -> list[ViaImage]:
    _, content = separator_and_rest(text)
    if "# CSV_HEADER" in text and "spatial_coordinates" in text:  # VIA 3, with regions in images or video frames
        return images_of_via3_csv(content)
    if "region_shape_attributes" in content.lstrip().partition("\n")[0]:  # the header of VIA 1 or 2
        return images_of_csv(text)
    has_segments = "temporal_segment_start" in text
    kind = "CSV without VIA's columns" if text.strip() else "an empty file"
    raise OtherFileError("VIA 3's temporal segments" if has_segments else kind)


def _images_of_json(text: str) -> list[ViaImage]:
    try:
        data: Any = parse_json(text)
    except DamagedFileError:
        if any(word in text for word in VIA_WORDS):
            raise
        raise OtherFileError("not valid JSON" if text.strip() else "an empty file") from None
    fields = data if isinstance(data, dict) else {}
    if all(isinstance(fields.get(part), dict) for part in VIA3_PARTS):
        return images_of_project(data)
    if "_via_img_metadata" in fields:  # a project of VIA 2
        return images_of_json(data["_via_img_metadata"])
    entries = data if isinstance(data, list) else fields.values()
    if any(isinstance(entry, dict) and {"filename", "regions"} <= entry.keys() for entry in entries):
        return images_of_json(data)
    is_coco = {"images", "annotations"} <= fields.keys()
    raise OtherFileError("COCO annotations" if is_coco else "JSON without VIA's annotations")
