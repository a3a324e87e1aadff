"""Merging the images of several annotation files."""

from annotations.via_files import SQUARE, convert_params

from viadet.annotations.faults import group_faults
from viadet.annotations.merging import AnnotatedImage, merge_annotations
from viadet.via.images import ViaImage

ONE, TWO, THREE = "one.json", "two.csv", "three.json"
REGION = {"shape_attributes": SQUARE, "region_attributes": {"kind": "kite"}}
MOVED = {"shape_attributes": SQUARE | {"all_points_x": [11, 50, 50, 10]}, "region_attributes": {"kind": "kite"}}
EITHER = (
    "remove the image from one of them, or if both are right, as of two people who drew different objects, import both "
    "exports into VIA 2 (Annotation, Import Annotations), export the result, and keep that file alone"
)
OTHER = {"shape_attributes": SQUARE, "region_attributes": {"kind": "balloon"}}


def test_images_of_all_files_are_sorted_and_know_their_file():
    merged = merge_annotations({TWO: [ViaImage("b.png", [REGION])], ONE: [ViaImage("a.png", [OTHER, REGION])]})
    assert merged == ([AnnotatedImage("a.png", [OTHER, REGION], ONE), AnnotatedImage("b.png", [REGION], TWO)], [])


def test_identical_entries_count_once_in_several_files_and_in_one():
    entry = ViaImage("a.png", [REGION], 5)
    copy = ViaImage("a.png", [REGION | {"region_attributes": {"kind": "kite"}}])
    assert merge_annotations({ONE: [entry, entry], TWO: [copy]}) == ([AnnotatedImage("a.png", [REGION], ONE)], [])


def test_an_entry_without_regions_gives_way_and_is_reported():
    empty, filled = ViaImage("a.png", []), ViaImage("a.png", [REGION])
    files = {ONE: [empty], TWO: [filled], THREE: [empty]}
    assert merge_annotations(files) == ([AnnotatedImage("a.png", [REGION], TWO, has_empty_entry=True)], [])
    assert merge_annotations({ONE: [empty], TWO: [empty]}) == ([AnnotatedImage("a.png", [], ONE)], [])


def test_the_latest_review_of_an_image_replaces_all_other_entries_though_it_has_no_regions():
    plain = ViaImage("a.png", [REGION])
    first = ViaImage("a.png", [OTHER], file_attributes={"review": "9"})
    second = ViaImage("a.png", [], file_attributes={"review": "10"})
    expected = [AnnotatedImage("a.png", [], THREE, False, {"review": "10"}, (ONE, TWO))]
    assert merge_annotations({ONE: [plain], TWO: [first], THREE: [second]}) == (expected, [])
    merged, faults = merge_annotations({ONE: [first], TWO: [first._replace(regions=[REGION])], THREE: [plain]})
    assert merged == [AnnotatedImage("a.png", [OTHER], ONE, False, {"review": "9"}, (THREE,))]
    assert "one.json and two.csv, which share 1 image: 1 in attributes only" in faults[0].reason


def test_entries_with_the_same_regions_in_another_order_do_not_contradict():
    files = {ONE: [ViaImage("a.png", [REGION, OTHER])], TWO: [ViaImage("a.png", [OTHER, REGION])]}
    assert merge_annotations(files) == ([AnnotatedImage("a.png", [REGION, OTHER], ONE)], [])


def test_of_each_image_with_contradicting_entries_the_region_that_one_lacks_is_named():
    files = {
        ONE: [ViaImage(name, [REGION, OTHER]) for name in ("changed.png", "more.png", "fewer.png", "same.png")],
        TWO: [ViaImage("changed.png", [MOVED, OTHER]), ViaImage("more.png", [OTHER, MOVED, REGION])],
        THREE: [ViaImage("fewer.png", [REGION]), ViaImage("changed.png", [OTHER]), ViaImage("same.png", [MOVED])],
    }
    files[THREE].append(ViaImage("three.png", [REGION]))
    files[THREE].append(ViaImage("three.png", [OTHER]))
    images, contradictions = merge_annotations(files)
    assert [image.regions for image in images] == [[REGION, OTHER]] * 4 + [[REGION]]
    assert [fault.place for fault in contradictions] == [
        f"{TWO}, changed.png, region 0",
        f"{TWO}, more.png, region 1",
        f"{ONE}, changed.png, region 0",
        f"{ONE}, fewer.png, region 1",
        f"{THREE}, same.png, region 0",
        f"{THREE}, three.png, region 0",
    ]


def test_contradictions_are_counted_for_each_pair_of_files_by_their_kind():
    recoloured = REGION | {"region_attributes": {"kind": "dragon"}}
    names = [f"{number}.png" for number in range(6)]
    others = [[REGION, OTHER], [recoloured, OTHER], [recoloured], [MOVED, OTHER], [MOVED], []]
    files = {
        ONE: [ViaImage(name, [REGION, OTHER]) for name in names],
        TWO: [ViaImage(name, regions) for name, regions in zip(names, others, strict=True)],
        THREE: [ViaImage("twice.png", [REGION]), ViaImage("twice.png", [MOVED]), ViaImage("0.png", [REGION, OTHER])],
    }
    _, contradictions = merge_annotations(files)
    [pair, same_file] = group_faults(contradictions, convert_params())
    counts = "2 in some regions, 1 in attributes only, 1 in all regions"
    assert pair.summary == (
        f"4 images (contradicting entries in {ONE} and {TWO}, which share 5 images: {counts}): "
        f"{TWO}, 1.png, region 0 is in only one of the two entries; {EITHER}; {TWO}, 2.png, region 0; "
        f"{TWO}, 3.png, region 0; ..."
    )
    assert same_file.summary == (
        f"1 image (contradicting entries in {THREE} alone: 1 in all regions): {THREE}, twice.png, region 0 is in only "
        "one of the two entries; remove the image from one of them"
    )
