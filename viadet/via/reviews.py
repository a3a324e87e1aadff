"""What a review of annotations writes into VIA's files: suspicions at regions, and in which review an image was.

A region whose attribute `suspect` begins with SUGGESTED is no annotation: nobody accepted it yet, by deleting that
value. At other regions the attribute is a remark.
"""

import re
from typing import Any

SUSPECT_ATTRIBUTE = "suspect"  # of a region
REVIEW_ATTRIBUTE = "review"  # of an image: the number of its review, from 1
SUGGESTED = "suggested: "
NUMBER = re.compile("[1-9][0-9]{0,5}")
SUSPICION = re.compile(rf"({SUGGESTED})?[a-z]+ [01]\.\d+(: .*)?")


def suspicion(kind: str, score: float, seen: str = "", suggested: bool = False) -> str:
    """Write the value of the attribute `suspect`; `seen` is the category that the detector sees."""
    return f"{SUGGESTED if suggested else ''}{kind} {score:.2f}{f': {seen}' if seen else ''}"


def is_suggestion(region: Any) -> bool:
    """Tell whether a region of VIA 2 was suggested and is not accepted."""
    attributes = region.get("region_attributes") if isinstance(region, dict) else None
    value = attributes.get(SUSPECT_ATTRIBUTE) if isinstance(attributes, dict) else None
    return isinstance(value, str) and value.startswith(SUGGESTED) and SUSPICION.fullmatch(value) is not None


def review_of(file_attributes: Any) -> int:
    """Give the number of the review that an image's attributes tell, 0: of none."""
    value = file_attributes.get(REVIEW_ATTRIBUTE) if isinstance(file_attributes, dict) else None
    return int(value) if isinstance(value, str) and NUMBER.fullmatch(value) else 0
