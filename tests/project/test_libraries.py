"""Versions of the libraries that results depend on."""

import re
from importlib.metadata import version

from projects import REPOSITORY, read

from viadet.project.libraries import LIBRARIES, installed_versions, write_versions


def test_versions_are_those_installed_and_the_same_for_cuda_and_cpu():
    versions = installed_versions(("torch", "timm"))
    assert versions["timm"] == version("timm")
    assert re.fullmatch(r"[\d.]+", versions["torch"])
    assert version("torch").startswith(versions["torch"])


def test_a_file_is_written_for_each_kind_of_work(project):
    write_versions(project)
    assert set(read("network.json")) == set(LIBRARIES["network"])
    assert set(read("pictures.json")) == {"grad-cam", "matplotlib", "scipy"}
    before = {path.name: path.read_bytes() for path in project.glob("*.json")}
    write_versions(project)
    assert {path.name: path.read_bytes() for path in project.glob("*.json")} == before


def test_installed_versions_are_those_of_the_lock():
    lock = (REPOSITORY / "uv.lock").read_text(encoding="utf-8")
    for name, installed in installed_versions(tuple(sum(LIBRARIES.values(), ()))).items():
        assert re.search(rf'name = "{name}"\nversion = "{re.escape(installed)}[+"]', lock), name
