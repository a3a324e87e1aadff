"""The attribute that holds the category, the categories, and the category of a region."""

import pytest
from annotations.via_files import convert_params

from viadet.annotations.categories import (
    Categories,
    category_of,
    choose_categories,
    count_values,
    describe_counts,
    name_of,
)
from viadet.project.errors import UserError
from viadet.via.images import UnusableError

KINDS = Categories("kind", ["balloon", "kite"])


def regions(**values: list) -> list[dict]:
    """Regions with these attributes, each with a value for each region."""
    return [
        {"region_attributes": {name: value for name, value in zip(values, row, strict=True) if value is not None}}
        for row in zip(*values.values(), strict=True)
    ]


def chosen(given: list[dict], **changes) -> Categories:
    return choose_categories(
        count_values(given), len(given), convert_params(**({"categories": "auto", "attribute": "auto"} | changes))
    )


def error_of(given: list[dict], **changes) -> str:
    with pytest.raises(UserError) as error:
        chosen(given, **changes)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_only_attribute_with_repeated_values_is_found_with_its_values_sorted():
    given = regions(kind=["kite", "cat", "kite", "cat", None], id=["1", "2", "3", "4", "5"], note=["x", *[None] * 4])
    assert chosen(given) == ("kind", ["cat", "kite"])
    assert chosen(given[::-1]) == ("kind", ["cat", "kite"])


def test_regions_without_attributes_are_objects():
    assert chosen([{"region_attributes": {}}, {}, 3]) == (None, ["object"])


def test_the_given_categories_tell_which_attribute_is_meant():
    given = regions(kind=["kite", "cat"], colour=["red", "red"])
    assert chosen(given, categories=["cat", "kite"]) == ("kind", ["cat", "kite"])
    assert chosen(given, categories=["balloon"]) == (None, ["balloon"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "several region attributes could be the category; there are colour (red 4), kind (cat 2, kite 2); "),
        ({"categories": ["dog", "cow"]}, "no region attribute could be the category; there are colour (red 4), "),
        ({"attribute": "Kind"}, "no region has the attribute 'Kind' of convert.attribute; there are colour (red 4), "),
    ],
)
def test_attributes_are_listed_with_their_values_and_counts_if_none_or_several_fit(changes, reason):
    assert error_of(regions(kind=["kite", "cat"] * 2, colour=["red"] * 4), **changes).startswith(reason)


def test_an_attribute_that_no_region_has_comes_with_what_to_do():
    error = error_of(regions(kind=["kite", "cat"]), attribute="Kind")
    assert error.endswith("(cat 1, kite 1); set convert.attribute to one of them, or to auto")


def test_the_scores_of_corrected_detections_are_not_taken_for_the_category():
    scores = ["0.983", "0.983", "0.412", "0.412"]
    assert chosen(regions(kind=["kite", "cat"] * 2, score=scores)) == ("kind", ["cat", "kite"])
    assert chosen(regions(score=[*scores[:3], None])) == (None, ["object"])
    assert chosen(regions(score=["good", "bad"] * 2)) == ("score", ["bad", "good"])  # an attribute of the user's


def test_of_values_that_differ_only_in_case_the_most_frequent_one_is_found_and_the_others_are_refused():
    given = regions(kind=["dog", "Dog", "dog", "CAT", "Cat", "cat", "cat"])
    categories = chosen(given, attribute="kind")
    assert categories.names == ["cat", "dog"]
    for region in (given[1], given[3], given[4]):
        with pytest.raises(UnusableError, match=r"did you mean '(cat|dog)'\?"):
            category_of(region, categories)
    assert chosen(given, attribute="kind", categories=["Dog", "dog"]).names == ["Dog", "dog"]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("dog ", "dog"),
        ("guide\n dog", "guide dog"),
        ("\ud800", "\\ud800"),
        (3, "3"),
        (3.0, "3"),
        ({"dog": True}, "dog"),
        ({"dog": True, "cat": False}, "dog"),
        ({"dog": True, "cat": True}, ["dog", "cat"]),
        ({}, None),
        (" ", None),
        (None, None),
        (True, None),
        (["dog"], None),
    ],
)
def test_blanks_numbers_and_single_ticks_are_read_as_names(value, name):
    assert name_of(value) == name


def test_a_named_attribute_without_any_regions_gives_no_categories():
    assert chosen([], attribute="kind") == ("kind", [])


def test_without_an_attribute_every_region_has_the_first_category():
    assert category_of({"region_attributes": {"kind": "kite"}}, Categories(None, ["balloon"])) == 1


@pytest.mark.parametrize(("value", "category_id"), [("balloon", 1), ("kite", 2), (" kite", 2), ({"kite": True}, 2)])
def test_the_attribute_names_the_category(value, category_id):
    assert category_of({"region_attributes": {"kind": value}}, KINDS) == category_id


@pytest.mark.parametrize(
    ("attributes", "text", "reason"),
    [
        ({"kind": "bird"}, "has kind 'bird', expected one of balloon, kite", "kind 'bird'"),
        ({"kind": "Kite"}, "has kind 'Kite', did you mean 'kite'?", "kind 'Kite'"),
        ({"kind": {"kite": True, "balloon": True}}, "has 2 ticks in kind (kite, balloon)", "several categories"),
        ({}, "has no kind, expected one of balloon, kite", "no kind"),
        (None, "has no kind, expected one of balloon, kite", "no kind"),
        ([1], "has no kind, expected one of balloon, kite", "no kind"),
        ({"category": "kite"}, "has no kind, but category 'kite', expected one of balloon, kite", "no kind"),
    ],
)
def test_another_value_is_refused_with_the_categories(attributes, text, reason):
    with pytest.raises(UnusableError) as error:
        category_of({"region_attributes": attributes}, KINDS)
    assert str(error.value).startswith(text)
    assert error.value.reason == reason


def test_the_most_frequent_values_are_listed_first():
    assert describe_counts({f"k{number}": number for number in range(1, 11)}).startswith("k10 10, k9 9, ")
    assert describe_counts({f"k{number}": number for number in range(1, 11)}).endswith(", k3 3 and 2 more")
