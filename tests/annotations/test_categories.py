"""The attribute that holds the category, the categories, and the category of a region."""

import json

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
        given, count_values(given), convert_params(**({"categories": "auto", "attribute": "auto"} | changes))
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
    assert chosen(regions(kind=[None, None]), categories=["balloon"]) == (None, ["balloon"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "several region attributes could be the category; there are colour (red 4), kind (cat 2, kite 2); "),
        ({"categories": ["dog", "cow"]}, "no region attribute could be the category; there are colour (red 4), "),
        ({"categories": ["balloon"]}, "no region attribute could be the category; there are colour (red 4), "),
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
        ({"dog": True, "cat": True}, ("dog", "cat")),
        ({"dog": "false", "cat": "true"}, "cat"),
        (["dog"], "dog"),
        (["dog", 3], ("dog", "3")),
        ({}, None),
        ([], None),
        (" ", None),
        (None, None),
        (False, None),
        (True, ("True",)),
        ({"dog": "yes"}, ("{'dog': 'yes'}",)),
        ([["dog"]], ("[['dog']]",)),
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
        ({"kind": {"kite": True, "balloon": True}}, "has 2 values in kind (kite, balloon)", "several categories"),
        ({"kind": {"kite": "yes"}}, "has kind \"{'kite': 'yes'}\", expected one of", "kind \"{'kite': 'yes'}\""),
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


def test_a_region_without_the_only_category_is_offered_it():
    with pytest.raises(UnusableError) as error:
        category_of({}, Categories("kind", ["balloon"]))
    assert str(error.value) == (
        "has no kind, expected one of balloon "
        "(left out, it counts as background; with convert.attribute null it is one)"
    )
    assert category_of({}, Categories(None, ["balloon"])) == 1


TWO_TICKS = {"cup": True, "red": True}


@pytest.mark.parametrize(
    ("values", "listed"),
    [
        ([TWO_TICKS] * 4, "cup + red 4"),
        ([["cup", "red"]] * 4, "cup + red 4"),
        ([{"cup": "yes"}] * 4, "{'cup': 'yes'} 4"),
    ],
)
def test_values_that_are_no_single_name_do_not_make_one_category_of_all(values, listed):
    assert error_of(regions(kind=values)) == (
        f"no region attribute could be the category; there are kind ({listed}); "
        "set convert.attribute to one, or to null for a single category"
    )
    assert error_of(regions(kind=values), attribute="kind") == (
        f"no region has a single category in kind ({listed}); "
        "give each region one value in VIA, or set convert.attribute to null for a single category"
    )


def test_a_checkbox_with_several_ticks_is_not_taken_over_a_clear_attribute():
    sharp, both = {"sharp": True}, {"sharp": True, "front": True}
    given = regions(
        name=["Ann", "Bob", "Cy", "Di"], kind=["cat", "dog", "cow", "cat"], quality=[sharp, both, sharp, sharp]
    )
    assert error_of(given).startswith(
        "no region attribute could be the category; there are kind (cat 2, cow 1, dog 1), na"
    )
    slip = regions(kind=[{"cat": True}] * 6 + [{"dog": True}] * 5 + [{"cat": True, "dog": True}])
    assert chosen(slip) == ("kind", ["cat", "dog"])  # `category_of` names the one region


@pytest.mark.parametrize(
    ("cat", "dog", "value"),
    [
        ({"cat": "cat"}, {"dog": "dog"}, "cat"),
        ({"cat": "1"}, {"dog": "1"}, "1"),
        ({"cat": "1", "dog": "0"}, {"cat": "0", "dog": "1"}, "1"),
        ({"cat": {"yes": True}, "dog": ""}, {"cat": {}, "dog": {"yes": True}}, "yes"),
    ],
)
@pytest.mark.parametrize(("cats", "dogs"), [(9, 3), (6, 6)])
def test_one_attribute_for_each_class_is_told_with_how_to_make_one_of_them(cat, dog, value, cats, dogs):
    given = [{"region_attributes": cat}] * cats + [{"region_attributes": dog}] * dogs
    error = error_of(given)
    assert error.startswith(f"each class has an attribute of its own: cat ({value} {cats}), dog (")
    assert error.endswith(
        f'; in a text editor, replace "cat":"{value}" by "category":"cat" in the annotation file, and so on, and set '
        "convert.attribute to category; or set it to null for a single category"
    )


def test_two_attributes_with_the_same_category_are_not_one_for_each_class():
    given = [{"region_attributes": {key: "balloon"}} for key in ["kind"] * 4 + ["category"] * 4]
    assert error_of(given).startswith(
        "several region attributes could be the category; there are category (balloon 4), "
    )
    noted = regions(kind=["kite"] * 6 + [None] * 2, note=[None] * 6 + ["blurred"] * 2)
    assert chosen(noted) == ("kind", ["kite"])


def test_the_advice_for_one_attribute_a_class_leads_to_its_categories():
    text = json.dumps(regions(cat=["1"] * 4 + ["0"] * 2, dog=["0"] * 4 + ["1"] * 2), separators=(",", ":"))
    for name in ("cat", "dog"):
        text = text.replace(f'"{name}":"1"', f'"category":"{name}"')
    assert chosen(json.loads(text), attribute="category") == ("category", ["cat", "dog"])


def test_numbers_in_names_are_sorted_by_their_value():
    names = ["10", "2", "1", "b 10", "b 9a", "b", "a", "007", "9" * 30]
    assert chosen(regions(kind=names * 2)).names == ["1", "2", "007", "10", "9" * 30, "a", "b", "b 9a", "b 10"]


def test_many_attributes_are_listed_in_a_short_line():
    given = regions(**{f"attribute {number}": [f"a very long value {n}" * 5 for n in range(9)] for number in range(14)})
    error = error_of(given * 2)
    assert len(error) < 600
    assert all(f"attribute {number}" in error for number in range(14))


def test_the_most_frequent_values_are_listed_first():
    assert describe_counts({f"k{number}": number for number in range(1, 11)}).startswith("k10 10, k9 9, ")
    assert describe_counts({f"k{number}": number for number in range(1, 11)}).endswith(", k3 3 and 2 more")
