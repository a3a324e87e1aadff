"""How a detector was evaluated: what it takes, beside the weights, to detect as its figures say."""

from pathlib import Path
from typing import NamedTuple, Self

from pydantic import ValidationError

from viadet.annotations.object_sizes import tiles_for
from viadet.project.errors import UserError
from viadet.project.files import read_json, write_json
from viadet.project.params import Recipe, ViewsParams

SETTINGS_NAME = "detect.json"  # in a model folder, written with the evaluation: none of it is a property of the weights


class DetectSettings(NamedTuple):
    """The params of an evaluation that decide what is detected."""

    test_wh: tuple[int, int]  # px of the network's input
    score_threshold: float
    max_detections: int  # of an image
    views: ViewsParams | None  # whose detections can be merged

    @classmethod
    def of_recipe(cls, recipe: Recipe, train_coco: dict | None) -> Self:
        """Take them from a recipe.

        Args:
            recipe: of the model.
            train_coco: the training split, by whose boxes `auto` tiles are chosen; None: without views.
        """
        params, test_wh = recipe.evaluate, recipe.model.test_wh
        views = params.test_time if train_coco else None
        if views and views.tiles == "auto":
            views = views.model_copy(update={"tiles": tiles_for(train_coco, test_wh)})
        return cls(test_wh, params.score_threshold, params.max_detections, views)


def write_settings(folder: Path, settings: DetectSettings) -> None:
    """Write settings into a model folder."""
    views = settings.views and settings.views.model_dump()
    write_json(folder / SETTINGS_NAME, settings._asdict() | {"views": views})


def read_settings(folder: Path) -> DetectSettings | None:
    """Read the settings of a model folder; None: the model was not evaluated.

    Raises:
        UserError: another version of viadet wrote them.
    """
    path = folder / SETTINGS_NAME
    if not path.exists():
        return None
    values = read_json(path)
    try:
        width, height = values["test_wh"]
        views = values["views"] and ViewsParams.model_validate(values["views"])
        return DetectSettings(**values | {"test_wh": (width, height), "views": views})
    except (KeyError, TypeError, ValueError, ValidationError):
        raise UserError(f"{path} is of another version of viadet; evaluate again, or delete it") from None
