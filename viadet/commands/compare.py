"""Put two runs side by side on one page that needs no network. No stage: nothing of the pipeline depends on it.

Reads   metrics, params, curves and pictures of two revisions, as `dvc metrics|params|plots diff` gives them
Writes  comparison.html: metrics and params that differ, curves overlaid, pictures under a slider or side by side
Run     python -m stages.compare [OLD] [NEW] [-o FILE], commits, branches, tags, experiments or workspace;
        HEAD and workspace unless told
"""

import argparse
from pathlib import Path

from viadet.pictures.comparison import render_page
from viadet.project.errors import UserError
from viadet.project.files import replaced_file


def main(arguments: list[str] | None = None) -> None:
    """Compare two revisions, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", nargs="?", default="HEAD", help="revision to compare with (HEAD)")
    parser.add_argument("new", nargs="?", default="workspace", help="revision to look at (workspace)")
    parser.add_argument("-o", "--out", type=Path, default=Path("comparison.html"), help="the page (comparison.html)")
    options = parser.parse_args(arguments)
    if options.old == options.new:
        raise UserError(f"{options.old} is compared with itself; name two revisions")
    page, missing = render_page(options.old, options.new)
    with replaced_file(options.out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    for line in missing:
        print(line)
    print(f"{options.out}: {len(page) / 1e6:.1f} MB, open it in a browser")
