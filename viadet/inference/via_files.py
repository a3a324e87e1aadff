"""Detections as files of VIA 2: to look at them, to correct them, and to train from them again."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from viadet.annotations.categories import SCORE_ATTRIBUTE
from viadet.inference.records import ImageRecord
from viadet.project.errors import UserError

CLASS_ATTRIBUTE = "category"
# Signs that VIA would take for parts of a URL, and bytes of a name that are not UTF-8, which a URL can have.
URL_SIGNS = {ord(sign): f"%{ord(sign):02X}" for sign in "%#?"}
URL_SIGNS |= {0xDC00 + byte: f"%{byte:02X}" for byte in range(128, 256)}


def class_attribute(categories: Sequence[str], attribute: str | None) -> str | None:
    """Choose the region attribute that names the category; None: there is only one category, and no name asked for.

    Without it, boxes of one category go together with annotations that have no attribute at all.

    Raises:
        UserError: it is the attribute of the score.
    """
    if attribute == SCORE_ATTRIBUTE:
        raise UserError(f"--attribute is {attribute}, which holds the score; name another")
    return attribute or (CLASS_ATTRIBUTE if len(categories) > 1 else None)


def via_regions(records: Iterable[ImageRecord], attribute: str | None) -> dict[str, dict]:
    """Make annotations as VIA 2 exports and imports them: an entry for each image, a rectangle for each detection."""
    entries = {}
    for record in records:
        regions = []
        for category, result in zip(record.detections.names, record.detections.rows(), strict=True):
            x, y, width, height = result["bbox"]
            shape = {"name": "rect", "x": x, "y": y, "width": width, "height": height}
            values = {attribute: category} if attribute else {}
            values[SCORE_ATTRIBUTE] = f"{result['score']:.3f}"
            regions.append({"shape_attributes": shape, "region_attributes": values})
        name = record.file_name.translate(URL_SIGNS)
        entry = {"filename": name, "size": record.bytes, "regions": regions, "file_attributes": {}}
        entries[f"{name}{record.bytes}"] = entry
    return entries


def via_project(
    name: str, root: Path, regions: dict[str, dict], categories: Sequence[str], attribute: str | None
) -> dict:
    """Make a project of VIA 2, which finds its images wherever VIA's page lies on this computer.

    A box that is drawn in it gets the category by itself if there is only one.

    Args:
        name: of the project.
        root: folder of the images, absolute.
        regions: of `via_regions`, in the order in which VIA shows them.
        categories: names, in order of their ids.
        attribute: as of `class_attribute`.
    """
    image = {"region_label": attribute or SCORE_ATTRIBUTE}  # what is drawn at each box
    attributes: dict[str, dict] = {}
    if attribute:
        default = {categories[0]: True} if len(categories) == 1 else {}
        options = dict.fromkeys(categories, "")
        attributes[attribute] = {
            "type": "dropdown",
            "description": "",
            "options": options,
            "default_options": default,
        }
        if len(categories) > 1:
            image["region_color"] = attribute
    description = "the detector's, 0 to 1; empty for boxes drawn by hand"
    attributes[SCORE_ATTRIBUTE] = {"type": "text", "description": description, "default_value": ""}
    folder = root.as_uri().rstrip("/") + "/"  # a path would be taken as relative on Windows
    return {
        "_via_settings": {"ui": {"image": image}, "core": {"default_filepath": folder}, "project": {"name": name}},
        "_via_img_metadata": regions,
        "_via_attributes": {"region": attributes, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(regions),
    }
