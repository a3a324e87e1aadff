"""How pictures tell classes apart: a colour and a name for each; with a single class neither is needed."""

# Sasha Trubetskoy's "20 simple, distinct colors" without black, grey and white, the most distinct first.
COLOURS = (
    "#e6194b",
    "#3cb44b",
    "#ffe119",
    "#4363d8",
    "#f58231",
    "#42d4f4",
    "#f032e6",
    "#fabed4",
    "#469990",
    "#dcbeff",
    "#9a6324",
    "#800000",
    "#aaffc3",
    "#911eb4",
    "#808000",
    "#ffd8b1",
    "#000075",
    "#bfef45",
)


def class_colours(labels: list[int], names: dict[int, str], single: str) -> list[str]:
    """Choose the colour of each label; a class keeps its colour in all pictures, from the 19th on colours repeat.

    Args:
        labels: category ids, from 1.
        names: of all categories, by id.
        single: the colour if there is only one category.
    """
    return [COLOURS[(label - 1) % len(COLOURS)] if len(names) > 1 else single for label in labels]


def class_names(labels: list[int], names: dict[int, str]) -> list[str] | None:
    """Name the class of each label; None if there is only one category. Arguments as for `class_colours`."""
    return [names[label] for label in labels] if len(names) > 1 else None
