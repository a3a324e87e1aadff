"""The wheel and the sdist: what is in them, and that the wheel alone, without the repository, detects."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from projects import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]


def run(*command: str | Path, **options) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, **options)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with both, as `uv build` makes them, but with the builder of this environment: no network."""
    folder = tmp_path_factory.mktemp("built")
    for target in ("sdist", "wheel"):
        command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", folder]
        result = run(*command, cwd=REPOSITORY)
        assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The `bin` folder of a new environment with the wheel, which finds its dependencies in this one's packages."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    python = Path(paths["scripts"]) / Path(sys.executable).name
    (wheel,) = built.glob("*.whl")
    install = [sys.executable, "-m", "uv", "pip", "install", "--offline", "--no-deps", "--python", python, wheel]
    result = run(*install)
    assert result.returncode == 0, result.stderr
    # A path in a .pth file: packages are found in it, but not the editable project, which is a .pth file there itself.
    packages = [path for path in sys.path if Path(path).name == "site-packages"]
    Path(paths["purelib"], "dependencies.pth").write_text("\n".join(packages), encoding="utf-8")
    return Path(paths["scripts"])


def files_in_git() -> set[str]:
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "viadet", cwd=REPOSITORY)
    return {name for name in listed.stdout.splitlines() if (REPOSITORY / name).is_file()}


def test_the_wheel_has_the_whole_library_and_nothing_else(built):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == files_in_git()


def test_the_sdist_has_no_images_and_no_cache_of_whoever_builds_it(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    own = {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore"}
    assert names <= files_in_git() | own


def test_the_wheel_alone_detects_in_an_empty_folder(installed, untrained_model, tmp_path):
    Image.effect_mandelbrot((96, 64), (-2, -1.5, 1, 1.5), 40).save(tmp_path / "photograph.jpg")
    result = run(
        installed / "viadet",
        *("predict", "photograph.jpg", "--model", untrained_model, "--out", "found", "--device", "cpu"),
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "found/pictures/photograph.jpg").is_file()
    assert json.loads((tmp_path / "found/coco_results.json").read_text(encoding="utf-8"))
    where = run(installed / "python", "-c", "import viadet; print(viadet.__file__)", cwd=tmp_path).stdout
    assert Path(where).is_relative_to(installed.parent)


@pytest.mark.parametrize("command", ["compare", "experiments", "repeat --seeds 2", "review"])
def test_commands_of_the_pipeline_say_that_they_need_a_clone(installed, command, tmp_path):
    result = run(installed / "viadet", *command.split(), cwd=tmp_path)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{command.split()[0]}: no dvc.yaml in {tmp_path} or above it; run this in a clone of")
    assert list(tmp_path.iterdir()) == []
