"""The category of a VIA region, from one of its attributes."""

from viadet.annotations.via import BadRegionError, short_repr


def category_of(region: dict, attribute: str | None, categories: list[str]) -> int:
    """Give a region's category id, counted from 1.

    Args:
        region: a region of a VIA file.
        attribute: name of the region attribute that holds the category; None: all regions have the first category.
        categories: all names, in the order of their ids.

    Raises:
        BadRegionError: the attribute holds none of the categories.
    """
    if attribute is None:
        return 1
    attributes = region.get("region_attributes")
    name = attributes.get(attribute) if isinstance(attributes, dict) else None
    if name not in categories:
        raise BadRegionError(f"has {attribute} {short_repr(name)}, expected one of {', '.join(categories)}")
    return categories.index(name) + 1
