"""Finding VIA's annotation files by their content, and reading any of them."""

from pathlib import Path

from viadet.annotations.image_names import files_below
from viadet.annotations.via import ViaImage
from viadet.annotations.via3 import images_of_project, images_of_via3_csv, is_via3_csv, is_via3_json
from viadet.annotations.via_csv import images_of_csv, is_via_csv
from viadet.annotations.via_json import images_of_json, is_via_json, load_json, read_text
from viadet.project.errors import UserError

SUFFIXES = (".json", ".csv")
# In a file that is not valid JSON, words that only VIA writes: it was cut off or edited by hand.
VIA_WORDS = ("_via_img_metadata", "shape_attributes", "vid_list")


def find_annotation_files(folder: Path) -> list[Path]:
    """Find the VIA files at any depth below a folder, by content; .json and .csv in any case."""
    return [path for path in _json_and_csv_below(folder) if kind_of(path) is None]


def other_files(folder: Path) -> dict[Path, str]:
    """Give the JSON and CSV files below a folder that are not VIA files, each with what it is instead."""
    kinds = {path: kind_of(path) for path in _json_and_csv_below(folder)}
    return {path: kind for path, kind in kinds.items() if kind is not None}


def read_annotation_file(path: Path) -> list[ViaImage]:
    """Read the JSON or CSV file of any version of VIA, in the file's order.

    Raises:
        UserError: it is missing, damaged or not a VIA file; names the file and the place in it.
    """
    if path.suffix.lower() == ".csv":
        text = read_text(path)
        return images_of_via3_csv(text, path) if is_via3_csv(text) else images_of_csv(text, path)
    data = load_json(path)
    return images_of_project(data, path) if is_via3_json(data) else images_of_json(data, path)


def kind_of(path: Path) -> str | None:
    """Say what a JSON or CSV file is instead of a VIA file; None: it is one, perhaps damaged."""
    try:
        text = read_text(path)
    except UserError:
        return "not UTF-8 text"
    if path.suffix.lower() == ".csv":
        if is_via_csv(text) or is_via3_csv(text):
            return None
        return "VIA 3's temporal segments" if "temporal_segment_start" in text else "CSV without VIA's columns"
    try:
        data = load_json(path)
    except UserError:
        return None if any(word in text for word in VIA_WORDS) else "not valid JSON"
    if is_via_json(data) or is_via3_json(data):
        return None
    if isinstance(data, dict) and {"images", "annotations"} <= data.keys():
        return "COCO annotations"
    return "JSON without VIA's annotations"


def _json_and_csv_below(folder: Path) -> list[Path]:
    return [path for path in files_below(folder) if path.suffix.lower() in SUFFIXES]
