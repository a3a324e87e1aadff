"""Writing projects of VIA 2."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Signs that VIA would take for parts of a URL, and bytes of a name that are not UTF-8, which a URL can have.
URL_SIGNS = {ord(sign): f"%{ord(sign):02X}" for sign in "%#?"}
URL_SIGNS |= {0xDC00 + byte: f"%{byte:02X}" for byte in range(128, 256)}


def via_entries(images: Iterable[tuple[str, int, list[dict], dict]]) -> dict[str, dict]:
    """Make the entries of images as VIA 2 exports and imports them, in the order in which it shows them.

    Args:
        images: of each the file's name, relative to the folder of all, its bytes, the regions and the attributes.
    """
    entries = {}
    for file_name, size, regions, attributes in images:
        name = file_name.translate(URL_SIGNS)
        entries[f"{name}{size}"] = {
            "filename": name,
            "size": size,
            "regions": regions,
            "file_attributes": attributes,
        }
    return entries


def text_attribute(description: str = "") -> dict:
    """Describe an attribute whose values are typed."""
    return {"type": "text", "description": description, "default_value": ""}


def choice_attribute(options: Sequence[str], kind: str = "dropdown") -> dict:
    """Describe an attribute with these values, of which a new region gets the only one by itself.

    Args:
        options: the values.
        kind: dropdown, or checkbox for several of them.
    """
    default = {options[0]: True} if len(options) == 1 and kind == "dropdown" else {}
    return {
        "type": kind,
        "description": "",
        "options": dict.fromkeys(options, ""),
        "default_options": default,
    }


def via_project(
    name: str,
    root: Path,
    entries: dict[str, dict],
    region_attributes: Mapping[str, dict],
    file_attributes: Mapping[str, dict],
    label: str,
    colour: str | None,
) -> dict[str, Any]:
    """Make a project of VIA 2, which finds its images wherever VIA's page lies on this computer.

    Args:
        name: of the project.
        root: folder of the images, absolute.
        entries: of `via_entries`.
        region_attributes: of all regions, each described as by `text_attribute` or `choice_attribute`.
        file_attributes: likewise of the images.
        label: region attribute that is drawn at each region.
        colour: region attribute whose values are told apart by colours; None: none.
    """
    image = {"region_label": label} | ({"region_color": colour} if colour else {})
    folder = root.as_uri().rstrip("/") + "/"  # a path would be taken as relative on Windows
    return {
        "_via_settings": {"ui": {"image": image}, "core": {"default_filepath": folder}, "project": {"name": name}},
        "_via_img_metadata": entries,
        "_via_attributes": {"region": dict(region_attributes), "file": dict(file_attributes)},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(entries),
    }
