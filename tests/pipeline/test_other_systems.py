"""All stages under stand-ins for Windows; names, line ends and wheels for every system."""

import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path, PurePosixPath

import pytest
from other_systems import like_windows, refused_by_windows
from packaging.markers import Marker
from packaging.utils import parse_wheel_filename
from projects import REPOSITORY, SMALL, write_params

STAGES = ("fetch", "convert", "visualise", "train", "evaluate", "feature_maps", "grad_cam")
OUTPUT_DIRS = ("data", "metrics", "plots")
SYSTEMS = {  # markers of the environment, ends of a wheel's platform tag
    "Windows x64": (("win32", "Windows", "AMD64", "nt"), ("win_amd64",)),
    "Linux x64": (("linux", "Linux", "x86_64", "posix"), ("x86_64", "manylinux")),
    "Linux arm64": (("linux", "Linux", "aarch64", "posix"), ("aarch64", "manylinux")),
    "macOS arm64": (("darwin", "Darwin", "arm64", "posix"), ("arm64", "macosx")),
}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# pure Python without a wheel on PyPI: pip builds them anywhere, as they need no compiler
SOURCE_ONLY = {"antlr4-python3-runtime", "grad-cam"}


@pytest.mark.slow
def test_all_stages_run_where_files_are_as_on_windows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BALLOON_MIRROR", raising=False)
    write_params(SMALL | {"train.epochs": 1, "evaluate.score_threshold": 0.0})
    like_windows(monkeypatch)
    for name in (*STAGES, "fetch", "convert", "train", "evaluate"):  # the second time over the outputs of the first
        importlib.import_module(f"stages.{name}").main()
    outputs = [path for folder in OUTPUT_DIRS for path in Path(folder).rglob("*") if path.is_file()]
    assert len(outputs) > 30
    for path in outputs:
        assert not refused_by_windows(path, longest=150)
        if path.suffix in (".csv", ".json"):
            assert b"\r" not in path.read_bytes(), path
            assert path.read_bytes().decode("utf-8")


SET_UP = {  # where it is written down; PowerShell's lines are beside those of the README
    "README.md": "pip install uv && uv sync --locked && dvc exp run -S recipe=sample",
    ".ci/run": "pip install --quiet uv\nuv sync --locked\n",
    ".github/workflows/ci.yml": "pip install uv\n          uv sync --locked\n",
}


@pytest.mark.parametrize("name", SET_UP)
def test_set_up_is_the_same_in_readme_workflow_and_ci(name):
    assert SET_UP[name] in (REPOSITORY / name).read_text(encoding="utf-8")


def test_the_locks_of_two_systems_are_compared_output_by_output(tmp_path):
    lock = (REPOSITORY / "dvc.lock").read_text(encoding="utf-8")
    digest = re.search(r"path: data/coco\n.*?md5: (\w+)", lock, re.DOTALL)[1]
    command = [sys.executable, str(REPOSITORY / ".ci/compare_locks.py"), str(tmp_path)]
    for system in ("linux", "macos"):
        only = subprocess.run(command, capture_output=True, text=True).stdout
        assert only.startswith("Nothing to compare: the sample ran on ")  # the other systems' jobs failed
        (tmp_path / system).mkdir()
        (tmp_path / system / "dvc.lock").write_text(lock, encoding="utf-8")
    assert (
        "outputs have the same bytes on linux, macos" in subprocess.run(command, capture_output=True, text=True).stdout
    )
    (tmp_path / "macos/dvc.lock").write_text(lock.replace(digest, "0" * 32), encoding="utf-8")
    table = subprocess.run(command, capture_output=True, text=True).stdout
    assert "1 of " in table
    assert "| data/coco | A | B |" in table


def tracked_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True)
    return listed.stdout.decode().split("\0")[:-1]


def test_windows_accepts_the_name_of_every_tracked_file():
    names = tracked_files()
    assert [name for name in names if refused_by_windows(PurePosixPath(name), longest=150)] == []
    assert len({name.casefold() for name in names}) == len(names)


@pytest.mark.parametrize("autocrlf", ["true", "input"])
def test_a_checkout_has_the_same_bytes_whatever_git_does_with_line_ends(tmp_path, autocrlf):
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    names = [name for name in tracked_files() if (REPOSITORY / name).is_file()]
    for name in names:
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, origin / name)
    git = ["git", "-c", f"core.autocrlf={autocrlf}", "-c", "user.name=T", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "-Af"], ["commit", "-qm", "start"], ["clone", "-q", ".", str(clone)]):
        subprocess.run([*git, *command], cwd=origin, check=True, capture_output=True)
    differing = [name for name in names if (clone / name).read_bytes() != (REPOSITORY / name).read_bytes()]
    assert differing == []


@cache
def locked_packages() -> list[dict]:
    return tomllib.loads((REPOSITORY / "uv.lock").read_text(encoding="utf-8"))["package"]


def package_of(dependency: dict) -> dict:
    """The package that a dependency names, of the version that it names if there are several."""
    versions = [package for package in locked_packages() if package["name"] == dependency["name"]]
    (package,) = [p for p in versions if "version" not in dependency or p.get("version") == dependency["version"]]
    return package


def needed(environment: dict[str, str]) -> dict[str, dict]:
    """The packages that `uv sync` installs in an environment, by name."""
    root = package_of({"name": "via-efficientdet"})
    waiting, packages, visited = [*root["dependencies"], *root["dev-dependencies"]["dev"]], {}, set()
    while waiting:
        dependency = waiting.pop()
        if "marker" in dependency and not Marker(dependency["marker"]).evaluate(environment):
            continue
        package = packages.setdefault(dependency["name"], package_of(dependency))
        for extra in ("", *dependency.get("extra", ())):
            if (package["name"], extra) not in visited:
                visited.add((package["name"], extra))
                waiting += package["optional-dependencies"][extra] if extra else package.get("dependencies", [])
    del packages["via-efficientdet"]
    return packages


def fits(wheel: str, python: str, platform: tuple[str, ...]) -> bool:
    """Tell whether a wheel is for this Python and platform."""
    digits = python.replace(".", "")
    for tag in parse_wheel_filename(wheel)[3]:
        right_abi = tag.interpreter in ("py3", f"cp{digits}", f"py{digits}", "py2.py3") or (
            tag.abi == "abi3" and int(tag.interpreter.removeprefix("cp3")) <= int(digits[1:])
        )
        right_platform = tag.platform == "any" or all(part in tag.platform for part in platform)
        universal = "macosx" in platform and tag.platform.endswith("universal2")
        if right_abi and (right_platform or universal):
            return True
    return False


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_locked_package_has_a_wheel(system, python):
    (sys_platform, platform_system, machine, os_name), platform = SYSTEMS[system]
    environment = {"sys_platform": sys_platform, "platform_system": platform_system, "platform_machine": machine}
    environment |= {"os_name": os_name, "python_version": python, "python_full_version": f"{python}.0"}
    environment |= {"implementation_name": "cpython", "platform_python_implementation": "CPython", "extra": ""}
    packages, without = needed(environment), set()
    assert {"torch", "dvc", "pytest", "numpy"} <= packages.keys()
    for name, package in packages.items():
        wheels = [Path(wheel["url"]).name for wheel in package.get("wheels", [])]
        if not any(fits(wheel, python, platform) for wheel in wheels):
            without.add(name)
    assert without == SOURCE_ONLY
