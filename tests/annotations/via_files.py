"""Splits of one-coloured images with VIA files, the params to convert them, and the formats of all VIA versions."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from projects import polygon

from viadet.project.params import ConvertParams
from viadet.via.annotation_files import AnnotationFiles, OtherFileError, read_annotation_file, read_annotation_files
from viadet.via.data_files import files_below
from viadet.via.images import DamagedFileError

SQUARE = polygon((10, 20), (50, 20), (50, 80), (10, 80))


def convert_params(**changes) -> ConvertParams:
    """Params of one category without an attribute, with which each fault is an error."""
    faults = dict.fromkeys(("bad_regions", "other_categories", "points", "bad_images"), "error")
    defaults = {"categories": ["balloon"], "attribute": None, "polyline": "nearly_closed", "emptied_images": "drop"}
    split = {"split": None, "folds": None, "folds_of": "all", "fold": 0}
    return ConvertParams(**(faults | defaults | split | changes))


def write_split(folder: Path, entries: list[dict], size_wh: tuple[int, int] = (200, 100)) -> Path:
    """Write images and a VIA file of these entries into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        Image.new("RGB", size_wh, "navy").save(folder / entry["filename"])
    (folder / "via_region_data.json").write_text(
        json.dumps({entry["filename"]: entry for entry in entries}), encoding="utf-8"
    )
    return folder


def files_of(folder: Path) -> AnnotationFiles:
    """Read the annotation files of a folder."""
    return read_annotation_files(folder, [path.relative_to(folder).as_posix() for path in files_below(folder)])


def problem_of(path: Path) -> str:
    """What is wrong with a damaged file of VIA, with the places in it, or what another file is."""
    try:
        read_annotation_file(path)
    except DamagedFileError as error:
        line = "".join(f", {place}" for place in error.places) + f" {error}"
    except OtherFileError as error:
        line = f" is not a VIA file: {error}"
    assert len(line.splitlines()) == 1
    return line


class Drawn(NamedTuple):
    """An image as a user annotated it; regions are pairs of VIA 2's shape and attributes."""

    name: str
    regions: list[tuple[dict, dict]]
    size: int = 1000


def via_json(images: list[Drawn], as_object: bool = False) -> str:
    """What VIA exports as JSON; VIA 1 writes the regions as an object, VIA 2 as a list."""
    return dump({f"{image.name}{image.size}": _entry(image, as_object) for image in images})


def via2_project(images: list[Drawn]) -> str:
    entries = {f"{image.name}{image.size}": _entry(image) for image in images}
    parts = {"_via_settings": {"core": {"default_filepath": ""}}, "_via_img_metadata": entries}
    return dump(parts | {"_via_attributes": {"region": {}, "file": {}}, "_via_image_id_list": list(entries)})


def via_csv(images: list[Drawn], comment: str = "") -> str:
    """What VIA exports as CSV; VIA 1 puts # before the header. File names are not quoted."""
    columns = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    rows = [comment + columns]
    for image in images:
        start = f'{image.name},{image.size},"{{}}"'
        for number, (shape, attributes) in enumerate(image.regions):
            rows.append(f"{start},{len(image.regions)},{number},{_cell(shape)},{_cell(attributes)}")
        if not image.regions:
            rows.append(f'{start},0,0,"{{}}","{{}}"')
    return "\n".join(rows)


def via3_project(images: list[Drawn], file_changes: dict | None = None) -> str:
    """A project of VIA 3; the values of all attributes are options."""
    attributes, views = (
        _attributes(images),
        {str(number): {"fid_list": [str(number)]} for number, _ in _numbered(images)},
    )
    files = {
        str(number): {"fid": str(number), "fname": image.name, "type": 2, "loc": 1, "src": ""} | (file_changes or {})
        for number, image in _numbered(images)
    }
    metadata = {
        f"{number}_{place}": {
            "vid": str(number),
            "flg": 0,
            "z": [],
            "xy": _xy(shape),
            "av": _values(values, attributes),
        }
        for number, image in _numbered(images)
        for place, (shape, values) in enumerate(image.regions)
    }
    project = {"data_format_version": "3.1.1", "vid_list": list(views)}
    parts = {"project": project, "config": {}, "attribute": attributes, "file": files}
    return dump(parts | {"metadata": metadata, "view": views})


def via3_csv(images: list[Drawn]) -> str:
    """What VIA 3 exports as CSV; it has no rows for images without regions."""
    attributes = _attributes(images)
    rows = [
        "# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)",
        '# - metadata of {""1"":""3""} indicates attribute with id "1" set to an attribute option with id "3"',
        '# SHAPE_ID = {"POINT":1,"RECTANGLE":2}',
        f"# ATTRIBUTE = {dump(attributes)}",
        "# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata",
    ]
    for number, image in _numbered(images):
        for place, (shape, values) in enumerate(image.regions):
            cells = f'"{number}_{place}",{_cell([image.name])},0,"[]"'
            rows.append(f"{cells},{_cell(_xy(shape))},{_cell(_values(values, attributes))}")
    return "\n".join(rows)


def dump(value: object) -> str:
    """Write JSON as browsers do."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _entry(image: Drawn, as_object: bool = False) -> dict:
    regions = [{"shape_attributes": shape, "region_attributes": values} for shape, values in image.regions]
    listed = {str(number): region for number, region in enumerate(regions)} if as_object else regions
    return {"filename": image.name, "size": image.size, "regions": listed, "file_attributes": {}}


def _cell(value: object) -> str:
    return '"' + dump(value).replace('"', '""') + '"'


def _numbered(images: list[Drawn]) -> Iterator[tuple[int, Drawn]]:
    return enumerate(images, start=1)


def _attributes(images: list[Drawn]) -> dict:
    """VIA 3's attributes: one of type select (4) for each of the regions' attributes, or checkbox (2)."""
    values = [attributes for image in images for _, attributes in image.regions]
    table = {}
    for number, name in enumerate(sorted(set().union(*values)), start=1):
        used = [entry[name] for entry in values if name in entry]
        labels = sorted({label for value in used for label in (value if isinstance(value, dict) else [value])})
        options = {str(place): label for place, label in enumerate(labels)}
        kind = 2 if any(isinstance(value, dict) for value in used) else 4
        table[str(number)] = {"aname": name, "anchor_id": "FILE1_Z0_XY1", "type": kind, "options": options}
    return table


def _values(values: dict, attributes: dict) -> dict:
    ids = {attribute["aname"]: id_ for id_, attribute in attributes.items()}
    written = {}
    for name, value in values.items():
        options = {label: option for option, label in attributes[ids[name]]["options"].items()}
        labels = value if isinstance(value, dict) else [value]
        written[ids[name]] = ",".join(options[label] for label in labels)
    return written


def _xy(shape: dict) -> list:
    match shape["name"]:
        case "rect":
            return [2, shape["x"], shape["y"], shape["width"], shape["height"]]
        case "circle":
            return [3, shape["cx"], shape["cy"], shape["r"]]
        case "ellipse":
            return [4, shape["cx"], shape["cy"], shape["rx"], shape["ry"]]
        case "point":
            return [1, shape["cx"], shape["cy"]]
        case name:
            points = zip(shape["all_points_x"], shape["all_points_y"], strict=True)
            return [{"polyline": 6, "polygon": 7}[name], *(value for point in points for value in point)]
