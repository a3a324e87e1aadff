"""The categories of VIA regions: which attribute holds them, which there are, and the one of a region."""

import math
import re
from collections import Counter
from typing import Any, NamedTuple

from viadet.project.counting import first_names
from viadet.project.errors import UserError
from viadet.project.params import ConvertParams
from viadet.via.images import UnusableError, short_repr
from viadet.via.reviews import SUSPECT_ATTRIBUTE, SUSPICION

ONLY_CATEGORY = "object"  # of regions without attributes
MIN_SHARE = 0.5  # of the regions that have a value of an attribute which holds the category
MAX_SEVERAL = 0.1  # of the values of such an attribute that are no single name, as slips are
SHOWN_VALUES = 8
SHOWN_ATTRIBUTES = 4
SCORE_ATTRIBUTE = "score"  # what `viadet predict` writes beside the category
SCORE = re.compile(r"[01]\.\d+")
ON, OFF = {"1", "true", "yes", "on", "x"}, {"0", "false", "no", "off"}  # in lower case: an attribute as a flag
Name = str | tuple[str, ...]  # a category's name; or what is none: several names, or one value of another kind
Values = dict[str, Counter[Name]]  # how often each region attribute has which value


class Categories(NamedTuple):
    """The attribute that holds the category (None: all regions have the first one) and the names in order of ids."""

    attribute: str | None
    names: list[str]


def choose_categories(regions: list[Any], values: Values, params: ConvertParams) -> Categories:
    """Find out what `auto` in params stands for; names are sorted then, numbers in them by their value.

    Of values that differ only in case, the most frequent one is a category: `category_of` refuses the others, so that
    each is told with its place. `values` is what `count_values` gives for the regions.

    Raises:
        UserError: no attribute fits or several do, or there is none of the name; says which there are.
    """
    attribute = params.attribute
    if attribute == "auto":
        attribute = _choose_attribute(regions, values, params.categories)
    elif attribute is not None and regions and attribute not in values:
        problem = f"no region has the attribute {attribute!r} of convert.attribute"
        raise UserError(f"{problem}; {_describe(values)}; set convert.attribute to one of them, or to auto")
    if params.categories != "auto":
        return Categories(attribute, list(params.categories))
    if attribute is None:
        return Categories(None, [ONLY_CATEGORY])
    counts = values.get(attribute, Counter())
    names: dict[str, str] = {}
    for name, _ in _by_frequency(counts):
        if isinstance(name, str):
            names.setdefault(name.casefold(), name)
    if counts and not names:
        advice = "give each region one value in VIA, or set convert.attribute to null for a single category"
        raise UserError(f"no region has a single category in {_shown(attribute)} ({describe_counts(counts)}); {advice}")
    return Categories(attribute, sorted(names.values(), key=_natural_order))


def count_values(regions: list[Any]) -> Values:
    """Count the values of each region attribute, leaving out empty ones."""
    values: Values = {}
    for names in map(_names_by_attribute, regions):
        for attribute, name in names.items():
            values.setdefault(attribute, Counter())[name] += 1
    return values


def name_of(value: Any) -> Name | None:
    """Read the value of an attribute as a category's name, without blanks around it; None if there is no value.

    It is a text, a number, a list of them, or of a checkbox an object with true for each tick. Of several names or
    ticks all are given, and of any other value its text alone, in a tuple.
    """
    if isinstance(value, dict) and all(tick in (True, False, "true", "false") for tick in value.values()):
        value = [name for name, tick in value.items() if tick in (True, "true")]
    if isinstance(value, list) and not any(isinstance(entry, dict | list | bool) for entry in value):
        names = tuple(name for name in map(name_of, value) if isinstance(name, str))
        return names if len(names) > 1 else names[0] if names else None
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return _one_line(value) or None
    return (_one_line(short_repr(value)),) if value else None


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
    if name is None:
        reason = f"no {attribute}"
        others = [key for key, value in attributes.items() if name_of(value) in names]  # of other work
        hint = f", but {_shown(others[0])} {short_repr(attributes[others[0]])}" if others else ""
        only = " (left out, it counts as background; with convert.attribute null it is one)" if len(names) == 1 else ""
        problem = f"has {reason}{hint}, {expected}{only}"
    elif isinstance(name, tuple) and len(name) > 1:
        reason = "several categories"
        problem = f"has {len(name)} values in {attribute} ({', '.join(name)}), expected one"
    else:
        value = name if isinstance(name, str) else name[0]
        reason = f"{attribute} {short_repr(value)}"
        similar = [known for known in names if known.casefold() == value.casefold()]
        problem = f"has {reason}, {f'did you mean {similar[0]!r}?' if similar else expected}"
    raise UnusableError(problem, reason, "other_categories")


def _choose_attribute(regions: list[Any], values: Values, categories: list[str] | str) -> str | None:
    """Choose the only attribute that most regions have, and whose values repeat or are the categories."""
    for ours, form in ((SCORE_ATTRIBUTE, SCORE), (SUSPECT_ATTRIBUTE, SUSPICION)):
        if all(isinstance(value, str) and form.fullmatch(value) for value in values.get(ours, ())):
            values = {attribute: counts for attribute, counts in values.items() if attribute != ours}
    if not values:  # but what we wrote into corrected detections or reviewed annotations
        return None
    _check_classes_share_an_attribute(regions, values)
    if categories == "auto":
        fitting = [attribute for attribute, counts in values.items() if _may_hold_categories(counts, len(regions))]
    else:
        fitting = [attribute for attribute, counts in values.items() if counts.keys() & set(categories)]
    if len(fitting) == 1:
        return fitting[0]
    problem = f"{'several region attributes' if fitting else 'no region attribute'} could be the category"
    candidates = _describe({attribute: values[attribute] for attribute in fitting or values})
    raise UserError(f"{problem}; {candidates}; set convert.attribute to one, or to null for a single category")


def _may_hold_categories(counts: Counter[Name], regions: int) -> bool:
    """Tell whether most regions have the attribute, with values that repeat, and rarely with several."""
    total = counts.total()
    several = sum(count for name, count in counts.items() if not isinstance(name, str))
    repeat = 2 * len(counts) <= total or total < 4
    return total >= MIN_SHARE * regions and repeat and several <= MAX_SEVERAL * total


def _check_classes_share_an_attribute(regions: list[Any], values: Values) -> None:
    """Check that not each class has an attribute of its own, as {"cat": "1"} and {"dog": "1"}, no region two of them.

    Raises:
        UserError: so it is; says how to give them one.
    """
    on: Values = {}
    for names in map(_names_by_attribute, regions):
        flags = {key: name for key, name in names.items() if key in values and shown_name(name).casefold() not in OFF}
        if len(flags) > 1 or any(
            shown_name(name).casefold() not in {key.casefold(), *ON} for key, name in flags.items()
        ):
            return
        for attribute, name in flags.items():
            on.setdefault(attribute, Counter())[name] += 1
    if len(on) < 2:
        return
    found = _describe(on).removeprefix("there are ")
    attribute, counts = next(iter(on.items()))
    name, value = _shown(attribute), _shown(shown_name(next(iter(counts))))
    raise UserError(
        f'each class has an attribute of its own: {found}; in a text editor, replace "{name}":"{value}" by '
        f'"category":"{name}" in the annotation file, and so on, and set convert.attribute to category; '
        "or set it to null for a single category"
    )


def _names_by_attribute(region: Any) -> dict[str, Name]:
    attributes = region.get("region_attributes") if isinstance(region, dict) else None
    attributes = attributes if isinstance(attributes, dict) else {}
    names = {attribute: name_of(value) for attribute, value in attributes.items()}
    return {attribute: name for attribute, name in names.items() if name is not None}


def _one_line(value: str | float) -> str:
    """Write a value without blanks around it, line breaks, and what no terminal can show (lone surrogates)."""
    return " ".join(str(value).encode(errors="backslashreplace").decode().split())


def _natural_order(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """Sort key for names: digits count as numbers, so that 10 comes after 2."""
    parts = re.split("0*([0-9]+)", name)  # texts and digits by turns
    return [(len(part), part) if place % 2 else part for place, part in enumerate(parts)], name


def _shown(text: str, length: int = 60) -> str:
    """Shorten a text of a VIA file, and escape what would break a line."""
    shown = short_repr(text)[1:-1]
    return shown if len(shown) <= length else shown[: length - 3] + "..."


def shown_name(name: Name) -> str:
    """Write a value, of several names all."""
    return name if isinstance(name, str) else " + ".join(name)


def _describe(values: Values) -> str:
    """List the most frequent attributes with their values, and the names of some others."""
    if not values:
        return "regions have no attributes with values"
    ordered = sorted(values.items(), key=lambda item: (-item[1].total(), item[0]))
    first, others = sorted(ordered[:SHOWN_ATTRIBUTES]), sorted(ordered[SHOWN_ATTRIBUTES:])
    shown = 2 if others else 4
    described = [f"{_shown(name, 30)} ({describe_counts(counts, shown, 20)})" for name, counts in first]
    more = f", also {first_names([_shown(name, 30) for name, _ in others], 10)}" if others else ""
    return f"there are {', '.join(described)}{more}"


def describe_counts(counts: Counter[Name], shown: int = SHOWN_VALUES, length: int = 60) -> str:
    """List the most frequent values, each with its count."""
    return first_names([f"{_shown(shown_name(name), length)} {count}" for name, count in _by_frequency(counts)], shown)


def _by_frequency(counts: Counter[Name]) -> list[tuple[Name, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], shown_name(item[0])))
