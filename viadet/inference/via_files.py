"""Detections as files of VIA 2: to look at them, to correct them, and to train from them again."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from viadet.annotations.categories import SCORE_ATTRIBUTE
from viadet.inference.records import ImageRecord
from viadet.project.errors import UserError
from viadet.via.project_files import choice_attribute, text_attribute, via_entries, via_project

CLASS_ATTRIBUTE = "category"


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
    images = []
    for record in records:
        regions = []
        for category, result in zip(record.detections.names, record.detections.rows(), strict=True):
            x, y, width, height = result["bbox"]
            shape = {"name": "rect", "x": x, "y": y, "width": width, "height": height}
            values = {attribute: category} if attribute else {}
            values[SCORE_ATTRIBUTE] = f"{result['score']:.3f}"
            regions.append({"shape_attributes": shape, "region_attributes": values})
        images.append((record.file_name, record.bytes, regions, {}))
    return via_entries(images)


def predictions_project(
    name: str, root: Path, regions: dict[str, dict], categories: Sequence[str], attribute: str | None
) -> dict:
    """Make a project of VIA 2 of predictions; a box that is drawn in it gets the category if there is only one.

    Args:
        name: of the project.
        root: folder of the images, absolute.
        regions: of `via_regions`, in the order in which VIA shows them.
        categories: names, in order of their ids.
        attribute: as of `class_attribute`.
    """
    attributes = {attribute: choice_attribute(categories)} if attribute else {}
    attributes[SCORE_ATTRIBUTE] = text_attribute("the detector's, 0 to 1; empty for boxes drawn by hand")
    colour = attribute if len(categories) > 1 else None
    return via_project(name, root, regions, attributes, {}, attribute or SCORE_ATTRIBUTE, colour)
