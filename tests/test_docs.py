"""The site of the docs: MkDocs builds it without a warning, and its links lead somewhere."""

import os
import subprocess
import sys
from html.parser import HTMLParser

import pytest
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
