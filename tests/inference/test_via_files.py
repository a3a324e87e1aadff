"""VIA files of detections: what they hold, and that the pipeline reads them again."""

import dataclasses
import json
from pathlib import Path

import pytest
from annotations.via_files import convert_params
from PIL import Image
from projects import via_entry

from viadet.annotations.convert import convert_data_set
from viadet.detection.detections import Detections
from viadet.inference.records import ImageRecord
from viadet.inference.via_files import class_attribute, predictions_project, via_regions
from viadet.via.annotation_files import read_annotation_file

CATEGORIES = ["cat", "dog"]


def record(file_name: str, *results: tuple[int, list[float], float]) -> ImageRecord:
    """A record of an image of 64 x 48 px."""
    rows = [{"category_id": label, "bbox": bbox, "score": score} for label, bbox, score in results]
    detections = dataclasses.replace(Detections.from_rows(rows), categories=tuple(CATEGORIES))
    return ImageRecord(file_name, 7, (64, 48), detections, unsureness=0.0)


RECORDS = [
    record("sub/b.png", (2, [1.25, 2.5, 30.0, 20.0], 0.98765), (1, [5.0, 6.0, 7.0, 8.0], 0.4)),
    record("50% #1?.png", (1, [0.0, 0.0, 64.0, 48.0], 0.99999)),
    record("a.png"),
]


def write_both(folder: Path, categories: list[str], attribute: str | None) -> list[Path]:
    regions = via_regions(RECORDS, attribute)
    documents = {
        "via_project.json": predictions_project("project", folder / "my images/ä", regions, categories, attribute),
        "via_regions.json": regions,
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document), encoding="utf-8")
    return [folder / name for name in documents]


def test_a_project_names_images_boxes_categories_scores_and_the_folder_of_the_images(tmp_path):
    project, regions = (
        json.loads(path.read_text(encoding="utf-8")) for path in write_both(tmp_path, CATEGORIES, "kind")
    )
    place = project["_via_settings"]["core"]["default_filepath"]
    assert place.startswith("file:///") and place.endswith("/my%20images/%C3%A4/")
    assert project["_via_img_metadata"] == regions
    assert project["_via_image_id_list"] == list(regions) == ["sub/b.png7", "50%25 %231%3F.png7", "a.png7"]
    first, second = regions["sub/b.png7"]["regions"]
    assert first["shape_attributes"] == {"name": "rect", "x": 1.25, "y": 2.5, "width": 30.0, "height": 20.0}
    assert first["region_attributes"] == {"kind": "dog", "score": "0.988"}
    assert second["region_attributes"] == {"kind": "cat", "score": "0.400"}
    assert regions["a.png7"]["regions"] == []
    kind = project["_via_attributes"]["region"]["kind"]
    assert (kind["type"], list(kind["options"]), kind["default_options"]) == ("dropdown", CATEGORIES, {})


def test_one_category_needs_no_attribute_unless_it_is_asked_for(tmp_path):
    assert class_attribute(["cat"], None) is None
    assert class_attribute(["cat"], "kind") == "kind"
    assert class_attribute(CATEGORIES, None) == "category"
    project, _ = write_both(tmp_path, CATEGORIES, None)
    metadata = json.loads(project.read_text(encoding="utf-8"))["_via_img_metadata"]
    assert metadata["sub/b.png7"]["regions"][0]["region_attributes"] == {"score": "0.988"}
    project = predictions_project("project", tmp_path, via_regions(RECORDS[2:], "kind"), ["cat"], "kind")
    kind = project["_via_attributes"]["region"]["kind"]
    assert kind["default_options"] == {"cat": True}  # new boxes are cats


def test_both_files_are_annotation_files_with_the_same_images(tmp_path):
    project, regions = write_both(tmp_path, CATEGORIES, "kind")
    assert read_annotation_file(project) == read_annotation_file(regions)


@pytest.mark.parametrize("attribute", ["kind", None])
def test_corrected_detections_go_back_in_as_one_more_annotation_file(attribute, tmp_path):
    """A box is moved, one deleted, one drawn; other images were annotated before."""
    own = {"kind": "dog"} if attribute else {}
    names = [record.file_name for record in RECORDS]
    for number, name in enumerate([*names, "old 1.png", "old 2.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 48), (number, 0, 0)).save(tmp_path / name)
    rect = {"name": "rect", "x": 1, "y": 2, "width": 10, "height": 10}
    old = {name: via_entry(name, rect, attributes=own) for name in ("old 1.png", "old 2.png")}
    (tmp_path / "old.json").write_text(json.dumps(old), encoding="utf-8")
    corrected = tmp_path / "corrected.json"
    data = predictions_project("corrected", tmp_path, via_regions(RECORDS, attribute), CATEGORIES, attribute)
    regions = data["_via_img_metadata"]["sub/b.png7"]["regions"]
    regions[0]["shape_attributes"]["x"] = 20
    del regions[1]
    regions.append({"shape_attributes": rect, "region_attributes": {**own, "score": ""}})
    corrected.write_text(json.dumps(data), encoding="utf-8")

    data_set = convert_data_set(tmp_path, "data", convert_params(categories="auto", attribute="auto"))
    assert not data_set.faults
    assert data_set.categories == ((attribute, CATEGORIES) if attribute else (None, ["object"]))
    boxes = {image.image["file_name"]: [entry["bbox"] for entry in image.annotations] for image in data_set.images}
    assert boxes["sub/b.png"] == [[20, 2.5, 30, 20], [1, 2, 10, 10]]
    assert boxes["50% #1?.png"] == [[0, 0, 64, 48]]
    assert boxes["a.png"] == []
    assert boxes["old 1.png"] == boxes["old 2.png"] == [[1, 2, 10, 10]]
