"""The model of dvc.lock travels with a clone: it is in a DVC remote inside the repository."""

import hashlib

import pytest
from projects import REPOSITORY, Clone, running_stages

from viadet.project.params import load_yaml

pytestmark = pytest.mark.slow
CARD_FILES = ("data/model/README.md", "data/model/detect.json")  # of `evaluate`; its pictures do not travel


def locked_files():
    """The md5 of each file of the model folder, by its path."""
    stages = load_yaml((REPOSITORY / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    outs = {out["path"]: out["md5"] for stage in ("train", "evaluate") for out in stages[stage]["outs"]}
    return {path: md5 for path, md5 in outs.items() if path.startswith("data/model/")}


@pytest.fixture(scope="module")
def pulled(tmp_path_factory):
    """A clone with the released model, as `dvc pull` brings it; the clone has only what git has, and no cache."""
    clone = Clone(tmp_path_factory.mktemp("released"))
    md5 = locked_files()["data/model/model.safetensors"]
    if not (clone.folder / ".dvc/released/files/md5" / md5[:2] / md5[2:]).is_file():
        pytest.skip("the model of dvc.lock is not in .dvc/released: it is not released yet, see CONTRIBUTING.md")
    clone.run("dvc", "pull", "train")
    clone.run("dvc", "pull", *CARD_FILES)  # not at once: beside a stage DVC forgets files
    return clone


def test_a_clone_pulls_the_model_of_the_lock(pulled):
    for path, md5 in locked_files().items():
        assert hashlib.md5((pulled.folder / path).read_bytes()).hexdigest() == md5, path


def test_a_clone_with_the_pulled_model_does_not_train(pulled):
    """Its images are not fetched here: they count as those of dvc.lock, which `fetch` checks file by file."""
    outputs = pulled.run("dvc", "status", "train")
    assert "changed outs" not in outputs
    assert running_stages(pulled.run("dvc", "repro", "--dry", "--allow-missing", "train")) == []
