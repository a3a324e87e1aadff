"""A project of VIA 2 with the suspects in it: annotations as they are, what the detector sees beside them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from viadet.annotations.categories import Categories
from viadet.annotations.convert import DataSet
from viadet.annotations.merging import AnnotatedImage
from viadet.review.suspects import Suspect
from viadet.via.images import UnusableError
from viadet.via.project_files import choice_attribute, text_attribute, via_entries, via_project
from viadet.via.reviews import REVIEW_ATTRIBUTE, SUSPECT_ATTRIBUTE, is_suggestion, review_of, suspicion
from viadet.via.shapes import outline_of

SUGGESTED_KINDS = ("missing", "loose")  # of which the detector's box is a region of its own
VIA2_SHAPES = ("rect", "circle", "ellipse", "polygon", "polyline", "point")
DESCRIPTIONS = {
    SUSPECT_ATTRIBUTE: "written by `viadet review`; delete it to accept a suggested box",
    REVIEW_ATTRIBUTE: "written by `viadet review`; keep it, the latest review of an image counts",
}


class ReviewProject(NamedTuple):
    """A project of VIA 2, and what could not go into it."""

    project: dict[str, Any]
    left_out: list[str]  # images with a region that VIA 2 can't show, once for each such region


def review_project(
    name: str, root: Path, data_set: DataSet, suspects: Sequence[Suspect], image_ids: dict[str, int]
) -> ReviewProject:
    """Make the project: all annotated images, those with the worst suspects first.

    Suggested boxes are regions whose attribute `suspect` says so: `convert` ignores them until that value is deleted.
    Of other suspects, the annotation itself has the attribute, which changes nothing. Images have the number of the
    review, by which `convert` prefers these entries to those that they were made of.

    Args:
        name: of the project.
        root: folder of the images, absolute.
        data_set: that was reviewed.
        suspects: of its annotations, best first.
        image_ids: by file name, those of the suspects.
    """
    by_image: dict[int, list[Suspect]] = defaultdict(list)
    for suspect in suspects:
        by_image[suspect.image_id].append(suspect)
    worst = {image_id: place for place, image_id in enumerate(by_image)}
    entries = sorted(data_set.entries, key=lambda entry: worst.get(image_ids.get(entry.file_name, -1), len(worst)))
    number = str(1 + max((review_of(entry.file_attributes) for entry in data_set.entries), default=0))
    images, left_out = [], []
    for entry in entries:
        own = by_image.get(image_ids.get(entry.file_name, -1), [])
        numbers = data_set.regions.get(entry.file_name, ())
        regions = annotated_regions(entry, numbers, own, data_set.categories)
        shown = [region for region in regions if region is not None]
        left_out += [entry.file_name] * (len(regions) - len(shown))
        shown += [suggested_region(suspect, data_set.categories) for suspect in own if suspect.kind in SUGGESTED_KINDS]
        attributes = {**_dict(entry.file_attributes), REVIEW_ATTRIBUTE: number}
        images.append((entry.file_name, (root / entry.file_name).stat().st_size, shown, attributes))
    attribute = data_set.categories.attribute
    region_attributes = describe_attributes(
        (_dict(region.get("region_attributes")) for _, _, regions, _ in images for region in regions),
        data_set.categories,
    )
    file_attributes = describe_attributes((attributes for *_, attributes in images), Categories(None, []))
    colour = attribute if len(data_set.categories.names) > 1 else None
    project = via_project(
        name, root, via_entries(images), region_attributes, file_attributes, SUSPECT_ATTRIBUTE, colour
    )
    return ReviewProject(project, left_out)


def annotated_regions(
    entry: AnnotatedImage, numbers: Sequence[int], suspects: Sequence[Suspect], categories: Categories
) -> list[dict | None]:
    """Give an image's regions as they are, suspicions in their attributes; None: VIA 2 can't show it.

    What an earlier review suggested or suspected is gone. `numbers` are those of the annotations' regions.
    """
    suspicions: dict[int, str] = {}
    for suspect in suspects:
        if suspect.annotation is not None and suspect.kind not in SUGGESTED_KINDS:
            seen = categories.names[suspect.category_id - 1] if suspect.category_id else ""
            suspicions[numbers[suspect.annotation]] = suspicion(suspect.kind, suspect.score, seen)
    regions = []
    for number, region in enumerate(entry.regions):
        if is_suggestion(region):
            continue
        shown = as_in_via2(region)
        if shown is not None:
            # empty elsewhere: VIA would label a region without the attribute "undefined"
            values = _dict(shown.get("region_attributes")) | {SUSPECT_ATTRIBUTE: suspicions.get(number, "")}
            shown = shown | {"region_attributes": values}
        regions.append(shown)
    return regions


def suggested_region(suspect: Suspect, categories: Categories) -> dict:
    """Make a region of the box that the detector sees."""
    x0, y0, x1, y1 = suspect.box_xyxy
    shape = {"name": "rect", "x": x0, "y": y0, "width": round(x1 - x0, 2), "height": round(y1 - y0, 2)}
    values = {categories.attribute: categories.names[suspect.category_id - 1]} if categories.attribute else {}
    values[SUSPECT_ATTRIBUTE] = suspicion(suspect.kind, suspect.score, suggested=True)
    return {"shape_attributes": shape, "region_attributes": values}


def as_in_via2(region: Any) -> dict | None:
    """Give a region with a shape of VIA 2, of VIA 3's own shapes the outline; None: it has none."""
    shape = _dict(region.get("shape_attributes")) if isinstance(region, dict) else {}
    if shape.get("name") in VIA2_SHAPES:
        return region
    if shape.get("name") == "line":
        return region | {"shape_attributes": shape | {"name": "polyline"}}
    try:
        xs, ys = zip(*outline_of(region), strict=True)
    except UnusableError:
        return None
    return region | {"shape_attributes": {"name": "polygon", "all_points_x": list(xs), "all_points_y": list(ys)}}


def describe_attributes(values: Iterable[dict], categories: Categories) -> dict[str, dict]:
    """Describe the attributes of regions or images, so that VIA shows them: ticks, a choice of categories, or text."""
    found: dict[str, list[Any]] = defaultdict(list)
    for attributes in values:
        for attribute, value in attributes.items():
            found[attribute].append(value)
    described = {}
    for attribute, own in found.items():
        if attribute == categories.attribute and all(isinstance(value, str) for value in own):
            others = sorted({value for value in own if value} - set(categories.names))
            described[attribute] = choice_attribute([*categories.names, *others])
        elif any(isinstance(value, dict) for value in own):
            ticks = sorted({option for value in own if isinstance(value, dict) for option in value})
            described[attribute] = choice_attribute(ticks, "checkbox")
        else:
            described[attribute] = text_attribute(DESCRIPTIONS.get(attribute, ""))
    return described


def _dict(value: Any) -> dict:
    return value if isinstance(value, dict) else {}
