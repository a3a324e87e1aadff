"""Faults grouped by reason, and the line that a run with some of them ends with."""

import pytest
from annotations.via_files import convert_params

from viadet.annotations.faults import Fault, group_faults, raise_faults
from viadet.project.errors import UserError

VIA = "data/own/via.json"
POINTS = [Fault("region", "point", VIA, "is a point", "points", ("a.jpg", f"region {n}")) for n in range(5)]
MISSING = Fault("image", "missing image", VIA, "is missing, but b.JPG is there", "bad_images", ("b.jpg",))
NOT_JSON = Fault("file", "annotation file", "data/own/sub/c.json", "is not valid JSON; export it again")


def line_of(faults: list[Fault], **changes) -> str:
    with pytest.raises(UserError) as error:
        raise_faults(group_faults(faults, convert_params(**changes)), "data/own")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_errors_come_first_then_the_most_frequent_reasons():
    groups = group_faults([MISSING, *POINTS, NOT_JSON], convert_params(points="skip"))
    assert [(group.reason, len(group.faults), group.is_error) for group in groups] == [
        ("annotation file", 1, True),
        ("missing image", 1, True),
        ("point", 5, False),
    ]


def test_a_group_is_summed_up_with_its_first_places():
    [missing, points] = group_faults([MISSING, *POINTS], convert_params(points="skip"))
    assert missing.summary == "1 image (missing image): data/own/via.json, b.jpg is missing, but b.JPG is there"
    assert points.summary == (
        "5 regions (point): data/own/via.json, a.jpg, region 0 is a point; "
        "data/own/via.json, a.jpg, region 1; data/own/via.json, a.jpg, region 2; ..."
    )


def test_one_fault_is_told_in_full():
    assert line_of(POINTS[:1]) == (
        "data/own/via.json, a.jpg, region 0 is a point; fix it in VIA, or set convert.points to skip"
    )
    assert line_of([NOT_JSON, *POINTS], points="skip") == "data/own/sub/c.json is not valid JSON; export it again"


def test_many_faults_are_told_at_once_with_counts_and_all_params_that_decide():
    assert line_of([*POINTS, MISSING]) == (
        "data/own has 6 faults: 5 point, 1 missing image; the first: data/own/via.json, a.jpg, region 0 is a point; "
        "fix them in VIA, or set convert.bad_images, points to skip; metrics/dataset_report.json lists all"
    )


def test_faults_that_are_skipped_end_nothing():
    raise_faults(group_faults([*POINTS, MISSING], convert_params(points="skip", bad_images="skip")), "data/own")


def test_of_many_reasons_the_first_are_named():
    faults = [
        Fault("region", f"kind {n:02d}", VIA, "is bad", "bad_regions", ("a.jpg", f"region {n}")) for n in range(12)
    ]
    assert "12 faults: 1 kind 00, 1 kind 01" in line_of(faults)
    assert "1 kind 09 and 2 more reasons; the first" in line_of(faults)


def test_a_fault_names_the_places_in_a_damaged_file_and_the_data_set_itself():
    damaged = Fault("file", "annotation file", "own/c.csv", "is [], expected an object", places=("row 2", "metadata"))
    assert damaged.sentence == "own/c.csv, row 2, metadata is [], expected an object"
    assert Fault("file", "category", "own", "has no clear categories").sentence == "own has no clear categories"
