"""MkDocs' hook: pages and pictures have the places of the repository, so that their links work here and on the site.

Links to other files and folders, such as code, lead to the repository on its server.
"""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
SHOWN = ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "docs/**/*.png", ".github/pictures/*")
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)(?=[)#])")  # a relative path, without an anchor


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the files of docs/ by all that is shown, named as in the repository; the theme's files stay."""
    for file in list(files.documentation_pages()) + list(files.media_files()):
        if file.src_dir == config.docs_dir:
            files.remove(file)
    for path in sorted(path for pattern in SHOWN for path in ROOT.glob(pattern)):
        name = path.relative_to(ROOT).as_posix()
        file = File.generated(config, name, abs_src_path=str(path), inclusion=InclusionLevel.INCLUDED)
        file.dest_uri = file.dest_uri.removeprefix("docs/").removeprefix(".")  # GitHub Pages serves no hidden folder
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to what exists but is not shown to the repository; MkDocs checks and reports the others."""

    def lead(link: re.Match) -> str:
        name = normpath(PurePosixPath(page.file.src_uri).parent / link[1])
        if files.get_file_from_path(name) or not (ROOT / name).exists():
            return link[1]
        kind = "tree" if (ROOT / name).is_dir() else "blob"
        return f"{config.repo_url}/{kind}/main/{name}"

    return LINK.sub(lead, markdown)
