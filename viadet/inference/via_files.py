"""Detections as files of VIA 2: to look at them, to correct them, and to train from them again."""

import json
from collections.abc import Iterable
from pathlib import Path

from viadet.annotations.categories import SCORE_ATTRIBUTE
from viadet.inference.records import ImageRecord, write_rows
from viadet.project.files import replaced_file

CLASS_ATTRIBUTE = "category"
URL_SIGNS = str.maketrans({"%": "%25", "#": "%23", "?": "%3F"})  # which VIA would take for parts of a URL


def class_attribute(categories: list[str], attribute: str | None) -> str | None:
    """Choose the region attribute that names the category; None: there is only one category, and no name asked for.

    Without it, boxes of one category go together with annotations that have no attribute at all.
    """
    return attribute or (CLASS_ATTRIBUTE if len(categories) > 1 else None)


def write_via_project(
    path: Path, root: Path, records: Iterable[ImageRecord], categories: list[str], attribute: str | None
) -> None:
    """Write a project of VIA 2, which finds its images wherever VIA's page lies on this computer.

    Args:
        path: of the file.
        root: folder of the images, absolute.
        records: of the images, in the order in which VIA shows them.
        categories: names, in order of their ids.
        attribute: as of `class_attribute`.
    """
    ids = []

    def entries() -> Iterable[str]:
        for record in records:
            key, entry = via_entry(record, categories, attribute)
            ids.append(json.dumps(key))
            yield f"{json.dumps(key)}: {json.dumps(entry)}"

    with replaced_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f'{{"_via_settings": {json.dumps(_settings(path.stem, root, categories, attribute))},\n')
        file.write('"_via_img_metadata": {')
        write_rows(file, entries())
        file.write(f'}},\n"_via_attributes": {json.dumps(_attributes(categories, attribute))},\n')
        file.write('"_via_data_format_version": "2.0.10",\n"_via_image_id_list": [')
        write_rows(file, ids)
        file.write("]}\n")


def write_via_regions(path: Path, records: Iterable[ImageRecord], categories: list[str], attribute: str | None) -> None:
    """Write annotations as VIA 2 exports and imports them; arguments as for `write_via_project`."""
    entries = (via_entry(record, categories, attribute) for record in records)
    with replaced_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write("{")
        write_rows(file, (f"{json.dumps(key)}: {json.dumps(entry)}" for key, entry in entries))
        file.write("}\n")


def via_entry(record: ImageRecord, categories: list[str], attribute: str | None) -> tuple[str, dict]:
    """Make VIA's key and entry of an image, with a rectangle for each detection."""
    regions = []
    for result in record["results"]:
        x, y, width, height = result["bbox"]
        shape = {"name": "rect", "x": x, "y": y, "width": width, "height": height}
        values = {attribute: categories[result["category_id"] - 1]} if attribute else {}
        values[SCORE_ATTRIBUTE] = f"{result['score']:.3f}"
        regions.append({"shape_attributes": shape, "region_attributes": values})
    name, size = record["file_name"].translate(URL_SIGNS), record["bytes"]
    return f"{name}{size}", {"filename": name, "size": size, "regions": regions, "file_attributes": {}}


def _settings(name: str, root: Path, categories: list[str], attribute: str | None) -> dict:
    """Make VIA's settings: where the images are, and what is drawn at each box."""
    image = {"region_label": attribute or SCORE_ATTRIBUTE}
    if attribute and len(categories) > 1:
        image["region_color"] = attribute
    folder = root.as_uri().rstrip("/") + "/"  # a path would be taken as relative on Windows
    return {"ui": {"image": image}, "core": {"default_filepath": folder}, "project": {"name": name}}


def _attributes(categories: list[str], attribute: str | None) -> dict:
    """Define the attributes; a new box gets the category by itself if there is only one."""
    default = {categories[0]: True} if len(categories) == 1 else {}
    options = {name: "" for name in categories}
    region: dict[str, dict] = {}
    if attribute:
        region[attribute] = {"type": "dropdown", "description": "", "options": options, "default_options": default}
    description = "the detector's, 0 to 1; empty for boxes drawn by hand"
    region[SCORE_ATTRIBUTE] = {"type": "text", "description": description, "default_value": ""}
    return {"region": region, "file": {}}
