"""The site of the docs: MkDocs builds it without a warning; and the notebook runs."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from html.parser import HTMLParser

import nbformat
import pytest
from nbclient import NotebookClient
from projects import REPOSITORY


class Targets(HTMLParser):
    """Collects where a page's links and pictures lead."""

    def __init__(self, page):
        super().__init__()
        self.links = set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.links |= {value for name, value in attributes if name in ("href", "src")}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="MkDocs is missing; `uv sync --locked --group docs` installs it")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", ".ci/mkdocs.yml"]
    environment = os.environ | {"REPOSITORY_URL": "https://example.org/viadet"}
    result = subprocess.run(
        [*command, "--site-dir", str(folder)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return folder


def test_the_readme_is_the_first_page_and_its_links_work(site):
    links = Targets((site / "index.html").read_text(encoding="utf-8")).links
    pictures = [link for link in links if link.endswith(".jpg")]
    assert pictures
    assert all((site / name).is_file() for name in pictures)
    assert "https://example.org/viadet/blob/main/stages/train.py" in links
    assert (site / "accuracy/index.html").is_file()
    assert any(link.startswith("accuracy/#") for link in links)


def test_nothing_of_the_site_is_hidden(site):
    """As GitHub Pages leaves hidden folders out."""
    assert [path for path in site.rglob(".*")] == []


@pytest.mark.slow
@pytest.mark.xdist_group("chain")
def test_the_notebook_runs_from_the_sample_to_the_packed_results(finished_clone, tmp_path):
    """In a clone that has run the small sample; on own images up to the report of their faults."""
    clone = finished_clone.copy_to(tmp_path / "clone")
    shutil.make_archive(tmp_path / "own", "zip", clone.folder / "data/raw/train")
    notebook = nbformat.read(REPOSITORY / "docs/colab.ipynb", as_version=4)
    notebook.cells = [cell for cell in notebook.cells if not {"setup", "training"} & set(cell.metadata.get("tags", []))]
    sources = "".join(cell.source for cell in notebook.cells)
    assert sources.count('ZIP = ""') == 1
    for cell in notebook.cells:
        cell.source = cell.source.replace('ZIP = ""', f'ZIP = "{tmp_path / "own.zip"}"')
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": clone.folder}})
    client.execute(env=clone.environment)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = {cell.source.splitlines()[-1].strip(): cell.outputs for cell in cells}
    text = "".join(output.get("text", "") for each in outputs.values() for output in each)
    assert "ERROR" not in text
    cocos = [
        json.loads((clone.folder / f"data/coco/{split}.json").read_text(encoding="utf-8")) for split in ("train", "val")
    ]
    assert sum(len(coco["images"]) for coco in cocos) == 6  # of the zip; the sample has others
    for last, count in (('show("plots/evaluate/images")', 3), ('show("found/pictures")', 4)):
        assert sum("image/jpeg" in output.get("data", {}) for output in outputs[last]) == count, last
    for name in ("detector.zip", "found.zip"):
        assert zipfile.is_zipfile(clone.folder / name)
