"""The photographs and their VIA files, from where `fetch.source` says."""

from pathlib import Path
from tempfile import TemporaryDirectory

from viadet.project.errors import UserError
from viadet.project.params import FetchParams, RenderedParams
from viadet.sample.data_set import write_rendered_split
from viadet.sources.archives import unpack_splits
from viadet.sources.download import fetch_file, is_url
from viadet.sources.folders import SPLITS, check_layout, copy_splits
from viadet.sources.manifest import check_manifest, read_manifest


def fetch_photographs(params: FetchParams, folder: Path) -> None:
    """Fill an empty folder with `train/` and `val/`, and check them.

    Raises:
        UserError: the source is missing, or is not a complete data set.
    """
    if params.rendered is not None:
        _render_splits(params.rendered, folder)
    elif is_url(params.source):
        with TemporaryDirectory(dir=folder.parent, prefix=".fetch.") as temporary:
            unpack_splits(fetch_file(params.source, Path(temporary)), folder)
    elif Path(params.source).is_dir():
        copy_splits(Path(params.source), folder)
    elif Path(params.source).is_file():
        unpack_splits(Path(params.source), folder)
    else:
        raise UserError(f"fetch.source is {params.source!r}: no such file or folder")
    check_layout(folder, params.source)
    if params.manifest is not None:
        check_manifest(folder, read_manifest(Path(params.manifest)), params.source)


def _render_splits(params: RenderedParams, folder: Path) -> None:
    counts = (params.train_images, params.val_images)
    for number, (split, count) in enumerate(zip(SPLITS, counts, strict=True)):
        (folder / split).mkdir()
        write_rendered_split(folder / split, count, params.image_size, seed=(params.seed, number))
