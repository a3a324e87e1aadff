"""Small real projects for the tests: rendered photographs, the repository's own params with a few keys changed."""

import contextlib
import copy
import functools
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from viadet.project.errors import run_stage
from viadet.project.params import ModelParams, load_yaml

REPOSITORY = Path(__file__).resolve().parents[1]
STAGES = ("fetch", "convert", "visualise", "train", "evaluate", "feature_maps", "grad_cam")
SMALL = {  # the sample, small enough for tests
    "fetch.rendered.train_images": 6,
    "fetch.rendered.val_images": 3,
    "fetch.rendered.image_size": 128,
    "model.init": "random",
    "model.image_size": 128,
    "model.test_size": None,
    "train.epochs": 2,
    "train.frozen_stages": 0,
    "train.freeze_batch_norm": False,
    "train.warmup_epochs": 1,
    "train.validate_every": 2,
    "train.device": "cpu",
    "train.threads": 1,  # tests run side by side
    "train.augment.plain_epochs": 1,
    "evaluate.bootstrap": 50,
    "grad_cam.checked_images": 1,
}


def set_param(params: dict, key: str, value: object) -> None:
    """Change one value in place, named as in `train.lr`."""
    *path, last = key.split(".")
    for name in path:
        params = params[name]
    params[last] = value


@functools.cache
def _read_params() -> dict:
    return load_yaml((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))


def repository_params() -> dict:
    """A copy of the repository's params, which are read once: hundreds of tests start from them."""
    return copy.deepcopy(_read_params())


def write_params(changes: dict | None = None, recipe: str = "sample") -> None:
    """Write params.yaml here: the repository's, with keys such as `train.lr` of one recipe changed."""
    params = repository_params()
    params["recipe"] = recipe
    for key, value in (changes or {}).items():
        set_param(params[recipe], key, value)
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def run_module(name: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a stage here as DVC does."""
    return subprocess.run(
        [sys.executable, "-m", f"stages.{name}"],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def stage_error(name: str) -> str:
    """Run a stage here, in this process, as `python -m stages.NAME` does; the line that it ends with."""
    module = importlib.import_module(f"stages.{name}")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", [f"stages/{name}.py"])
        run_stage(module.main, module.__doc__)
    return str(ended.value.code)


def small_changes() -> list[str]:
    """SMALL as arguments of `dvc exp run`."""
    values = {key: "null" if value is None else value for key, value in SMALL.items()}
    return [argument for key, value in values.items() for argument in ("-S", f"sample.{key}={value}")]


def evaluated_project(folder: Path, finished_sample: Path, model: Path, params: dict) -> Path:
    """Copy a finished sample and a model folder into an empty folder and run the stage `evaluate` there."""
    from stages import evaluate

    shutil.copytree(finished_sample / "data", folder / "data")
    shutil.copytree(model, folder / "data/model")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params(params)
        evaluate.main()
    return folder


# Each stage in a process of its own, all forked from one that has imported their libraries, which takes 5 s a stage.
FORK_STAGES = """
import importlib, os, sys
from viadet.project.errors import run_stage
modules = {name: importlib.import_module(f"stages.{name}") for name in sys.argv[1:]}
for name, module in modules.items():
    if os.fork() == 0:
        sys.argv = [f"stages/{name}.py"]
        run_stage(module.main, module.__doc__)
        sys.exit()
    if os.wait()[1]:
        sys.exit(f"{name} failed")
"""


class Clone:
    """A copy of the working tree as a git repository of its own, with an empty home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "clone"
        (folder / "home").mkdir()
        hidden = ("GIT_", "DVC_", "XDG_", "BALLOON_")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
        self.environment |= {
            "HOME": str(folder / "home"),
            "USERPROFILE": str(folder / "home"),  # Windows' home
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (REPOSITORY / name).is_file():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, self.folder / name)
        self.run("git", "init", "--quiet")
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "start")

    def at(self, folder: Path) -> "Clone":
        """The same git and DVC surroundings in another folder."""
        other = copy.copy(self)
        other.folder = folder
        return other

    def copy_to(self, folder: Path) -> "Clone":
        """A copy of all files, DVC's cache among them, in a new folder."""
        return self.at(shutil.copytree(self.folder, folder, symlinks=True))

    def with_identity(self) -> "Clone":
        """Let git commit here."""
        self.run("git", "config", "user.name", "T")
        self.run("git", "config", "user.email", "t@example.org")
        return self

    def finish(self, changes: dict) -> None:
        """Run all stages with changed params and have DVC record them, a third of the work of `dvc exp run`."""
        with contextlib.chdir(self.folder):
            write_params(changes)
        self.run(sys.executable, "-c", FORK_STAGES, *STAGES)
        self.run("dvc", "commit", "--force")

    def call(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )

    def run(self, *command: str) -> str:
        result = self.call(*command)
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
        return result.stdout


def stages_to_run(clone: Clone, *targets: str) -> list[str]:
    """The stages that `dvc repro` would run, in their order; asked in this process, as starting DVC takes a second."""
    from dvc.repo import Repo

    with contextlib.chdir(clone.folder), Repo() as repo:
        return [stage.name for stage in repo.reproduce(list(targets) or None, dry=True)]


def running_stages(output: str) -> list[str]:
    """The stages that DVC says it runs, or would run, in their order."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


@contextlib.contextmanager
def changed_file(clone, name, change):
    """Change the text of a file of the clone, then put it back."""
    path = clone.folder / name
    before = path.read_text(encoding="utf-8")
    path.write_text(change(before), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")


def changed_param(clone, key, value):
    """Change one param of the clone, then put it back."""

    def change(text):
        params = load_yaml(text)
        set_param(params, key, value)
        return yaml.safe_dump(params, sort_keys=False)

    return changed_file(clone, "params.yaml", change)


def via_entry(name: str, *shapes: dict, attributes: dict | None = None) -> dict:
    regions = [{"shape_attributes": shape, "region_attributes": attributes or {}} for shape in shapes]
    return {"filename": name, "size": 0, "regions": regions, "file_attributes": {}}


def polygon(*points: tuple[float, float]) -> dict:
    xs, ys = zip(*points, strict=True)
    return {"name": "polygon", "all_points_x": list(xs), "all_points_y": list(ys)}


def spec_of(image_size: int | list[int], categories: list[str] | None = None, name: str = "tf_efficientdet_lite0"):
    """Describe a network."""
    from viadet.network.build import backbone_normalisation, make_spec

    model = ModelParams(name=name, init="random", image_size=image_size, test_size=None, anchor_scale=4.0)
    return make_spec(model, categories or ["balloon"], backbone_normalisation(name))


def shorten(network):
    """Leave one block of each stage and one layer of the neck, for tests that take their time for each of them."""
    for number, blocks in enumerate(network.backbone.blocks):
        network.backbone.blocks[number] = blocks[:1]
    del network.fpn.cell[1:]


def found(results: list[dict]) -> dict:
    """Detections by image id of rows in COCO's results format."""
    from viadet.annotations.coco import by_image
    from viadet.detection.detections import Detections

    return {image_id: Detections.from_rows(rows) for image_id, rows in by_image(results).items()}


def read(path: str) -> dict:
    return json.loads(Path(path).read_text(encoding="utf-8"))
