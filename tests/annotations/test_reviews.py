"""Reviews: what is suggested counts once it is accepted, and a reviewed image replaces its earlier entries."""

import json
from pathlib import Path

import pytest
from annotations.via_files import SQUARE, convert_params, write_split
from projects import read, via_entry, write_params

from stages import convert
from viadet.annotations.convert import convert_data_set
from viadet.via.reviews import SUSPICION, is_suggestion, suspicion

OTHER_SQUARE = {"name": "rect", "x": 60, "y": 20, "width": 30, "height": 30}
NEW = {"name": "rect", "x": 120, "y": 10, "width": 40, "height": 50}


def region(shape: dict, suspect: str = "", kind: str = "cat") -> dict:
    return {"shape_attributes": shape, "region_attributes": {"kind": kind, "suspect": suspect}}


def reviewed(name: str, number: int, *regions: dict) -> dict:
    return {"filename": name, "size": 0, "regions": list(regions), "file_attributes": {"review": str(number)}}


def as_csv(entry: dict) -> str:
    lines = ["filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"]
    for number, one in enumerate(entry["regions"]):
        cells = (entry["file_attributes"], one["shape_attributes"], one["region_attributes"])
        texts = ['"' + json.dumps(cell).replace('"', '""') + '"' for cell in cells]
        row = (entry["filename"], entry["size"], texts[0], len(entry["regions"]), number, *texts[1:])
        lines.append(",".join(map(str, row)))
    return "\n".join(lines)


@pytest.mark.parametrize("form", ["project", "export", "csv"])
def test_of_a_review_only_what_is_accepted_counts_and_the_earlier_file_no_more(tmp_path, form):
    folder = write_split(
        tmp_path / "raw", [via_entry(name, SQUARE, attributes={"kind": "dog"}) for name in ("a.png", "b.png")]
    )
    entry = reviewed(
        "a.png",
        1,
        region(SQUARE, suspicion("class", 0.9, "cat"), "dog"),
        region(OTHER_SQUARE, suspicion("missing", 0.8, suggested=True)),
        region(NEW),
    )
    if form == "csv":
        (folder / "z.csv").write_text(as_csv(entry), encoding="utf-8")
    else:
        document = {"_via_img_metadata": {"a.png0": entry}} if form == "project" else {"a.png0": entry}
        (folder / "z.json").write_text(json.dumps(document), encoding="utf-8")
    data_set = convert_data_set(folder, "data/own", convert_params(categories="auto", attribute="auto"))
    assert not data_set.faults
    assert data_set.categories == ("kind", ["cat", "dog"])
    a, b = data_set.images
    assert [(entry["category_id"], entry["bbox"]) for entry in a.annotations] == [
        (2, [10, 20, 40, 60]),
        (1, [120, 10, 40, 50]),
    ]
    assert data_set.regions["a.png"] == [0, 2] and a.duplicate_regions == 0
    assert [entry["bbox"] for entry in b.annotations] == [[10, 20, 40, 60]]
    assert data_set.suggestions == ["a.png"]
    ((files, names),) = data_set.replaced.items()
    assert (
        names == ["a.png"]
        and files.startswith("data/own/z.")
        and files.endswith(" instead of data/own/via_region_data.json")
    )


def test_the_report_says_what_a_review_replaces_and_what_nobody_accepted(project, capsys):
    write_params({"convert.split": None}, recipe="own")
    for split in ("train", "val"):
        write_split(Path("data/raw", split), [via_entry("a.png", SQUARE, attributes={"kind": "cat"})])
    suggestion = region(NEW, suspicion("missing", 0.8, suggested=True))
    entry = reviewed("a.png", 2, region(SQUARE), suggestion, suggestion)
    Path("data/raw/train/review.json").write_text(json.dumps({"a.png0": entry}), encoding="utf-8")
    convert.main()
    lines = capsys.readouterr().out.splitlines()
    assert "left out: 2 suggestions of a review that nobody accepted: in train/a.png" in lines
    replaced = "reviewed in data/own/train/review.json instead of data/own/train/via_region_data.json"
    assert f"1 image as {replaced}: train/a.png" in lines
    report = read("metrics/dataset_report.json")
    assert report["images_with_suggestions"] == {"train/a.png": 2}
    assert list(report["images_of_reviews"].values()) == [["train/a.png"]]
    assert len(read("data/coco/train.json")["annotations"]) == 1


@pytest.mark.parametrize(
    "value", [None, 3, "", "suggested", "suggested: ", "missing 0.80", "suggested by Anna", {"a": True}]
)
def test_a_value_of_another_kind_suggests_nothing(value):
    assert not is_suggestion({"shape_attributes": SQUARE, "region_attributes": {"suspect": value}})
    assert not is_suggestion({"shape_attributes": SQUARE, "region_attributes": value})


def test_all_that_a_review_writes_is_a_suspicion():
    assert suspicion("loose", 0.456, suggested=True) == "suggested: loose 0.46"
    assert suspicion("class", 1, "cat: a\nb") == "class 1.00: cat: a\nb"
    for text in (suspicion("loose", 0.4, suggested=True), suspicion("spurious", 0), suspicion("class", 1, "cat: x")):
        assert SUSPICION.fullmatch(text)
