"""Images with their annotations, from wherever `fetch.source` says."""

from pathlib import Path
from tempfile import TemporaryDirectory

from viadet.project.errors import UserError
from viadet.project.params import FetchParams
from viadet.sources.archives import unpack
from viadet.sources.download import fetch_file, is_url
from viadet.sources.folders import SPLITS, check_layout, copy_splits
from viadet.sources.manifest import check_manifest, read_manifest


def fetch_images(params: FetchParams, folder: Path) -> None:
    """Fill an empty folder from the source and check it.

    Raises:
        UserError: the source can't be had or is not what it should be.
    """
    if params.rendered is not None:
        from viadet.sample.split import write_rendered_split

        sizes = zip(SPLITS, (params.rendered.train_images, params.rendered.val_images), strict=True)
        for number, (split, images) in enumerate(sizes):
            (folder / split).mkdir()
            seed = (params.rendered.seed, number)
            write_rendered_split(folder / split, images, params.rendered.image_size, seed)
    elif is_url(params.source):
        with TemporaryDirectory(dir=folder.parent, prefix=".fetch.") as temporary:
            unpack(fetch_file(params.source, Path(temporary)), folder)
    elif Path(params.source).is_dir():
        copy_splits(Path(params.source), folder)
    elif Path(params.source).is_file():
        unpack(Path(params.source), folder)
    else:
        raise UserError(f"fetch.source is {params.source!r}: no such file or folder")
    check_layout(folder, params.source)
    if params.manifest is not None:
        check_manifest(folder, read_manifest(Path(params.manifest)), params.source)
