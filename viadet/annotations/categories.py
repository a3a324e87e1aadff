"""The categories of VIA regions: which attribute holds them, which there are, and the one of a region."""

import math
import re
from collections import Counter
from typing import Any, NamedTuple

from viadet.project.counting import first_names
from viadet.project.errors import UserError
from viadet.project.params import ConvertParams
from viadet.via.images import UnusableError, short_repr

ONLY_CATEGORY = "object"  # of regions without attributes
MIN_SHARE = 0.5  # of the regions that have a value of an attribute which holds the category
SHOWN_VALUES = 8
SCORE_ATTRIBUTE = "score"  # what `viadet predict` writes beside the category
SCORE = re.compile(r"[01]\.\d+")
Values = dict[str, Counter[str]]  # how often each region attribute has which value


class Categories(NamedTuple):
    """The attribute that holds the category (None: all regions have the first one) and the names in order of ids."""

    attribute: str | None
    names: list[str]


def choose_categories(values: Values, regions: int, params: ConvertParams) -> Categories:
    """Find out what `auto` in params stands for; names are sorted then.

    Of values that differ only in case, the most frequent one is a category: `category_of` refuses the others, so that
    each is told with its place. `regions` is how many regions there are.

    Raises:
        UserError: no attribute fits or several do, or there is none of the name; says which there are.
    """
    attribute = params.attribute
    if attribute == "auto":
        attribute = _choose_attribute(values, regions, params.categories)
    elif attribute is not None and regions and attribute not in values:
        problem = f"no region has the attribute {attribute!r} of convert.attribute"
        raise UserError(f"{problem}; {_describe(values)}; set convert.attribute to one of them, or to auto")
    if params.categories != "auto":
        return Categories(attribute, list(params.categories))
    if attribute is None:
        return Categories(None, [ONLY_CATEGORY])
    names: dict[str, str] = {}
    for name, _ in _by_frequency(values.get(attribute, Counter())):
        names.setdefault(name.casefold(), name)
    return Categories(attribute, sorted(names.values()))


def count_values(regions: list[Any]) -> Values:
    """Count the values of each region attribute, leaving out empty ones and those that are no single name."""
    values: Values = {}
    for region in regions:
        attributes = region.get("region_attributes") if isinstance(region, dict) else None
        for name, value in attributes.items() if isinstance(attributes, dict) else ():
            if isinstance(text := name_of(value), str):
                values.setdefault(name, Counter())[text] += 1
    return values


def name_of(value: Any) -> str | list[str] | None:
    """Read the value of an attribute as a category's name, without blanks around it; None if there is no value.

    It is a text, a number, or of a checkbox an object with true for each tick; of several ticks all names are given.
    """
    if isinstance(value, dict):
        ticks = [_one_line(name) for name, tick in value.items() if tick is True or tick == "true"]
        return ticks if len(ticks) > 1 else ticks[0] if ticks else None
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return _one_line(value) or None
    return None


def category_of(region: dict, categories: Categories) -> int:
    """Give a region's category id, counted from 1.

    Raises:
        UnusableError: the attribute holds none of the categories, or several.
    """
    attribute, names = categories
    if attribute is None:
        return 1
    attributes = region.get("region_attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    name = name_of(attributes.get(attribute))
    if name in names:
        return names.index(name) + 1
    attribute = _shown(attribute)
    expected = f"expected one of {', '.join(names)}"
    if isinstance(name, list):
        reason = "several categories"
        problem = f"has {len(name)} ticks in {attribute} ({', '.join(name)}), expected one"
    elif name is None:
        reason = f"no {attribute}"
        others = [key for key, value in attributes.items() if name_of(value) in names]  # of other work
        hint = f", but {_shown(others[0])} {short_repr(attributes[others[0]])}" if others else ""
        problem = f"has {reason}{hint}, {expected}"
    else:
        reason = f"{attribute} {short_repr(name)}"
        similar = [known for known in names if known.casefold() == name.casefold()]
        problem = f"has {reason}, {f'did you mean {similar[0]!r}?' if similar else expected}"
    raise UnusableError(problem, reason, "other_categories")


def _choose_attribute(values: Values, regions: int, categories: list[str] | str) -> str | None:
    """Choose the only attribute that most regions have, and whose values repeat or are the categories."""
    if all(SCORE.fullmatch(value) for value in values.get(SCORE_ATTRIBUTE, ())):  # a part of corrected detections
        values = {attribute: counts for attribute, counts in values.items() if attribute != SCORE_ATTRIBUTE}
    if not values:
        return None
    if categories == "auto":
        fitting = [
            attribute
            for attribute, counts in values.items()
            if counts.total() >= MIN_SHARE * regions and (2 * len(counts) <= counts.total() or counts.total() < 4)
        ]
    else:
        fitting = [attribute for attribute, counts in values.items() if counts.keys() & set(categories)]
        if not fitting and len(categories) == 1:
            return None
    if len(fitting) == 1:
        return fitting[0]
    problem = f"{'several region attributes' if fitting else 'no region attribute'} could be the category"
    candidates = _describe({attribute: values[attribute] for attribute in fitting or values})
    raise UserError(f"{problem}; {candidates}; set convert.attribute to one, or to null for a single category")


def _one_line(value: str | float) -> str:
    """Write a value without blanks around it, line breaks, and what no terminal can show (lone surrogates)."""
    return " ".join(str(value).encode(errors="backslashreplace").decode().split())


def _shown(text: str) -> str:
    """Shorten a text of a VIA file, and escape what would break a line."""
    return short_repr(text)[1:-1]


def _describe(values: Values) -> str:
    if not values:
        return "regions have no attributes with values"
    described = [f"{_shown(name)} ({describe_counts(counts)})" for name, counts in sorted(values.items())]
    return f"there are {', '.join(described)}"


def describe_counts(counts: Counter[str]) -> str:
    """List the most frequent values, each with its count."""
    return first_names([f"{_shown(name)} {count}" for name, count in _by_frequency(counts)], SHOWN_VALUES)


def _by_frequency(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
