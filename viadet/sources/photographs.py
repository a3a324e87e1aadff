"""The photographs and their VIA files, from where `fetch.source` says."""

import shutil
from pathlib import Path
from zipfile import is_zipfile

from viadet.project.counting import counted
from viadet.project.errors import UserError
from viadet.project.experiments import missing_in_experiment
from viadet.project.params import FetchParams, RenderedParams
from viadet.sample.render import write_rendered_split
from viadet.sources.archives import unpack_data_set
from viadet.sources.download import fetch_file, is_url
from viadet.sources.folders import copy_data_set
from viadet.sources.manifest import check_manifest, read_manifest


def fetch_photographs(params: FetchParams, folder: Path) -> list[str]:
    """Fill an empty folder with images and annotation files, and check them.

    Returns:
        The files of the source that are left out, because they are neither.

    Raises:
        UserError: the source is missing or empty, can't be read, or does not match the manifest.
    """
    others = _get_files(params, folder)
    if not any(folder.iterdir()):
        contents = f" but {counted(len(others), 'other file')}, such as {others[0]}" if others else ""
        raise UserError(
            f"fetch.source is {params.source!r}, which has no images and no .json or .csv files{contents}; add them"
        )
    if params.manifest is not None:
        check_manifest(folder, read_manifest(Path(params.manifest)), params.source)
    return others


def _get_files(params: FetchParams, folder: Path) -> list[str]:
    path = Path(params.source).expanduser()
    if params.rendered is not None:
        _render_splits(params.rendered, folder)
        return []
    if is_url(params.source):
        download_dir = folder / ".download"  # hidden files of a data set are left out: it has none of this name
        download_dir.mkdir()
        others = unpack_data_set(fetch_file(params.source, download_dir), folder)
        shutil.rmtree(download_dir)
        return others
    if path.is_dir():
        return copy_data_set(path, folder)
    if path.is_file() and not is_zipfile(path):
        raise UserError(
            f"fetch.source is {params.source!r}, which is neither a folder nor a valid zip archive; "
            "put or link the folder of your images there"
        )
    if path.is_file():
        return unpack_data_set(path, folder)
    where = missing_in_experiment(path) or "; put or link your images there"
    raise UserError(f"fetch.source is {params.source!r}: no such file or folder{where}")


def _render_splits(params: RenderedParams, folder: Path) -> None:
    counts = (params.train_images, params.val_images)
    for number, (split, count) in enumerate(zip(("train", "val"), counts, strict=True)):
        (folder / split).mkdir()
        write_rendered_split(folder / split, count, params.image_size, seed=(params.seed, number))
