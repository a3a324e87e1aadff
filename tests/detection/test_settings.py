"""What an evaluation leaves in the model folder for detecting in the same way."""

import pytest
from projects import repository_params

from viadet.detection.settings import DetectSettings, read_settings, write_settings
from viadet.project.params import Recipe


@pytest.mark.parametrize("test_time", [True, False])
def test_settings_of_a_recipe_are_read_as_they_were_written(test_time, tmp_path):
    params = repository_params()["balloon"]
    if not test_time:
        params["evaluate"]["test_time"] = None
    recipe = Recipe.model_validate(params)
    write_settings(tmp_path, DetectSettings.of_recipe(recipe, {"images": [], "annotations": []}))
    settings = read_settings(tmp_path)
    assert settings == ((1152, 1152), 0.4, 100, recipe.evaluate.test_time)


def test_a_model_that_was_not_evaluated_has_none(tmp_path):
    assert read_settings(tmp_path) is None
