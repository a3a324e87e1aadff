"""Where an experiment in a temporary folder finds its project."""

from pathlib import Path

import pytest

from viadet.project.experiments import missing_in_experiment, project_root


@pytest.fixture(params=[".dvc/tmp/exps/tmpabc", ".dvc/tmp/exps/standalone/tmpabc"], ids=["queue", "temp"])
def experiment(request, tmp_path, monkeypatch):
    """A project with an untracked file, and the temporary folder of an experiment, which is the current one."""
    (tmp_path / "photographs.zip").touch()
    folder = tmp_path / request.param
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return tmp_path


def test_an_experiment_in_a_temporary_folder_finds_its_project(experiment):
    assert project_root() == experiment


def test_elsewhere_the_project_is_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert project_root() / "data/checkpoint" == Path("data/checkpoint")


def test_a_file_that_only_the_project_has_is_named_with_its_absolute_path(experiment):
    expected = " in this experiment's temporary folder, as git does not track it; give its absolute path, "
    assert missing_in_experiment(Path("photographs.zip")) == f"{expected}{experiment / 'photographs.zip'}"
    assert missing_in_experiment(Path("nowhere.zip")) == ""
