import pytest

from viadet.annotations.categories import category_of
from viadet.annotations.via import BadRegionError


def test_without_an_attribute_every_region_has_the_first_category():
    assert category_of({"region_attributes": {"kind": "kite"}}, None, ["balloon", "kite"]) == 1


@pytest.mark.parametrize(("name", "category_id"), [("balloon", 1), ("kite", 2)])
def test_the_attribute_names_the_category(name, category_id):
    assert category_of({"region_attributes": {"kind": name}}, "kind", ["balloon", "kite"]) == category_id


@pytest.mark.parametrize(("attributes", "value"), [({"kind": "bird"}, "'bird'"), ({}, "None"), (None, "None")])
def test_another_value_is_refused_with_the_categories(attributes, value):
    with pytest.raises(BadRegionError, match=f"has kind {value}, expected one of balloon, kite"):
        category_of({"region_attributes": attributes}, "kind", ["balloon", "kite"])
