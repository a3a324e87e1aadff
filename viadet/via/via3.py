"""Reading VIA 3: projects of images, and the CSV files that it exports.

Regions become regions of VIA 2: `xy` is [shape, coordinates, …], attributes and their options have ids.
"""

from collections import Counter
from typing import Any

from viadet.via.csv_files import cells_of, csv_rows, json_cell
from viadet.via.images import DamagedFileError, ViaImage, checked_file_name, read_all, short_repr

CSV_COLUMNS = ("file_list", "temporal_coordinates", "spatial_coordinates", "metadata")
ATTRIBUTES = "the comment ATTRIBUTE"  # of a CSV file
SHAPES = {  # by number: VIA 2's name, and its keys of the coordinates; None: x, y, x, y, …
    1: ("point", ("cx", "cy")),
    2: ("rect", ("x", "y", "width", "height")),
    3: ("circle", ("cx", "cy", "r")),
    4: ("ellipse", ("cx", "cy", "rx", "ry")),
    5: ("line", None),
    6: ("polyline", None),
    7: ("polygon", None),
    8: ("extreme_rectangle", None),
    9: ("extreme_circle", None),
}
LOCAL, INLINE = 1, 4  # places of a file for which `fname` is its name; else `src` is its path or URL
VIDEO, AUDIO = 4, 8  # types of a file
CHECKBOX, RADIO, SELECT = 2, 3, 4  # types of an attribute whose values are ids of options


def images_of_project(project: dict[str, dict]) -> list[ViaImage]:
    """Give the images of a VIA 3 project.

    Raises:
        DamagedFileError: names the view or the entry of the metadata.
    """
    views = ((f"view {short_repr(view_id)}", view) for view_id, view in project["view"].items())
    names = read_all(views, lambda view: _file_name_of(view, project["file"]))
    images = {view_id: ViaImage(name, []) for view_id, name in zip(project["view"], names, strict=True)}
    metadata = ((f"metadata {short_repr(key)}", entry) for key, entry in project["metadata"].items())
    attributes = _with_own_names(project["attribute"])
    for view_id, region in read_all(metadata, lambda entry: _entry_of(entry, images, attributes)):
        images[view_id].regions.extend(region)
    return list(images.values())


def images_of_via3_csv(text: str) -> list[ViaImage]:
    """Give the images of a VIA 3 CSV file, which has a row for each region and none for an image without metadata.

    Raises:
        DamagedFileError: columns are missing, or a row can't be read; names it, counted from 1 below the comments.
    """
    lines = text.replace("\r\n", "\n").split("\n")  # not splitlines: values may hold its other line ends
    comments = [line.lstrip("# ").partition(" = ") for line in lines if line.startswith("#")]
    values = {f"the comment {name}": value for name, _, value in comments}
    columns = [column.strip() for column in values.get("the comment CSV_HEADER", "").split(",")]
    missing = [name for name in CSV_COLUMNS if name not in columns]
    if missing:
        raise DamagedFileError(f"is changed: its CSV_HEADER lacks the columns {', '.join(missing)}; export it again")
    attributes = _with_own_names(json_cell({ATTRIBUTES: ""} | values, ATTRIBUTES, dict))
    rows = csv_rows("\n".join(line for line in lines if not line.startswith("#")))
    places = ((f"row {number} below the comments", row) for number, row in enumerate(rows, start=1))
    images: dict[str, list[Any]] = {}
    for name, region in read_all(places, lambda row: _row_of(row, columns, attributes)):
        images.setdefault(name, []).extend(region)
    return [ViaImage(name, regions) for name, regions in images.items()]


def _file_name_of(view: Any, files: dict) -> str:
    """Give the name of the one image that a view shows."""
    file_ids = view.get("fid_list") if isinstance(view, dict) else None
    if not isinstance(file_ids, list) or len(file_ids) != 1:
        raise DamagedFileError(f"shows {short_repr(file_ids)}, expected one file")
    file = files.get(str(file_ids[0]))
    if not isinstance(file, dict):
        raise DamagedFileError(f"shows the file {short_repr(file_ids[0])}, which the project lacks")
    if file.get("type") in (VIDEO, AUDIO):
        name = short_repr(file.get("fname"))
        raise DamagedFileError(f"shows {name}, which is video or audio; only images can be used")
    keys = ("fname", "src") if file.get("loc") in (LOCAL, INLINE) else ("src", "fname")
    return checked_file_name(file.get(keys[0]) or file.get(keys[1]))


def _entry_of(entry: Any, images: dict[str, ViaImage], attributes: dict) -> tuple[str, list[dict]]:
    """Give the id of the view that an entry of the metadata belongs to, and its region as `_row_of` does."""
    view_id = str(entry.get("vid")) if isinstance(entry, dict) else None
    if view_id not in images or not isinstance(entry.get("xy"), list) or not isinstance(entry.get("av", {}), dict):
        raise DamagedFileError(f"is {short_repr(entry)}, expected vid, xy and av of a view")
    return view_id, [_region_of(entry["xy"], entry.get("av", {}), attributes)] if entry["xy"] else []


def _row_of(row: list[str], columns: list[str], attributes: dict) -> tuple[str, list[dict]]:
    """Give a row's file name, and its region in a list, which is empty for metadata of the image."""
    cells = cells_of(row, columns)
    names = json_cell(cells, "file_list", list)
    if len(names) != 1:
        raise DamagedFileError(f"is {short_repr(names)}, expected one file name", "file_list")
    if json_cell(cells, "temporal_coordinates", list):
        raise DamagedFileError("is a part of a video; only images can be used")
    xy = json_cell(cells, "spatial_coordinates", list)
    values_by_id = json_cell(cells, "metadata", dict)
    return checked_file_name(names[0]), [_region_of(xy, values_by_id, attributes)] if xy else []


def _region_of(xy: list, values_by_id: dict, attributes: dict) -> dict:
    shape, *coordinates = xy
    name, keys = SHAPES.get(shape, (shape, None)) if isinstance(shape, int) else (shape, None)
    if keys is None:
        shape_attributes = {"name": name, "all_points_x": coordinates[0::2], "all_points_y": coordinates[1::2]}
    else:
        shape_attributes = {"name": name, **dict(zip(keys, coordinates, strict=False))}
    values = dict(_attribute_of(attributes.get(id_), id_, value) for id_, value in values_by_id.items())
    return {"shape_attributes": shape_attributes, "region_attributes": values}


def _with_own_names(attributes: dict) -> dict:
    """Put the ids behind the names of attributes that share one, as kind (1) and kind (2), so that none is lost."""
    places = Counter(map(_name_and_anchor, attributes.values()))
    return {
        id_: attribute | {"aname": f"{attribute['aname']} ({id_})"}
        if places[_name_and_anchor(attribute)] > 1 and _name_and_anchor(attribute)
        else attribute
        for id_, attribute in attributes.items()
    }


def _name_and_anchor(attribute: Any) -> tuple[str, str] | None:
    """Give an attribute's name, and whether it is one of regions or of files, which may have the same."""
    name = attribute.get("aname") if isinstance(attribute, dict) else None
    return (name, str(attribute.get("anchor_id"))) if isinstance(name, str) else None


def _attribute_of(attribute: Any, id_: str, value: Any) -> tuple[str, Any]:
    """Give an attribute's name and value as in VIA 2: the label of an option, an object of labels for a checkbox."""
    if not isinstance(attribute, dict):
        return id_, value
    name, options = attribute.get("aname"), attribute.get("options")
    name = name if isinstance(name, str) else id_
    if not isinstance(value, str) or not isinstance(options, dict):
        return name, value
    if attribute.get("type") == CHECKBOX:
        return name, {str(options.get(option) or option): True for option in value.split(",") if option}
    if attribute.get("type") in (RADIO, SELECT):
        return name, options.get(value) or value  # an option of a project that came from VIA 2 may have an empty label
    return name, value
