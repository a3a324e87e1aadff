"""A project after the stage `evaluate`, run once for all tests that read its outputs (xdist_group "evaluate")."""

import pytest
from projects import SMALL, evaluated_project

FEW_DRAWN = SMALL | {"evaluate.score_threshold": 0.75}  # of scores from 0.59 to 0.79


@pytest.fixture(scope="session")
def evaluated(finished_sample, untrained_model, tmp_path_factory):
    """A project with the stage's outputs; nobody changes it."""
    return evaluated_project(tmp_path_factory.mktemp("evaluated"), finished_sample, untrained_model, FEW_DRAWN)
