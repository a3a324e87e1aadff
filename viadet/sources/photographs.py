"""The photographs and their VIA files, from where `fetch.source` says, and their checksums."""

import re
import shutil
from pathlib import Path
from zipfile import is_zipfile

from viadet.project.counting import counted, first_names
from viadet.project.errors import UserError
from viadet.project.experiments import missing_in_experiment
from viadet.project.files import sha256_of
from viadet.project.params import FetchParams
from viadet.sample.render import write_rendered_split
from viadet.sources.archives import unpack_data_set
from viadet.sources.download import fetch_file, is_url
from viadet.via.data_files import describe_unread, files_below, is_data_file


def fetch_photographs(params: FetchParams, folder: Path) -> list[str]:
    """Fill an empty folder with images and annotation files, and check them.

    Returns:
        The files of the source that are left out, because they are neither.

    Raises:
        UserError: the source is missing or empty, can't be read, or does not match the manifest.
    """
    others = _get_files(params, folder)
    if not any(folder.iterdir()):
        problem = f"fetch.source is {params.source!r}, which has no images and no .json or .csv files"
        if unread := describe_unread(map(Path, others)):
            raise UserError(f"{problem}; {unread}")
        contents = f" but {counted(len(others), 'other file')}, such as {others[0]}" if others else ""
        raise UserError(f"{problem}{contents}; add them")
    if params.manifest is not None:
        check_manifest(folder, read_manifest(Path(params.manifest)), params.source)
    return others


def _get_files(params: FetchParams, folder: Path) -> list[str]:
    path = Path(params.source).expanduser()
    if params.rendered is not None:
        counts = {"train": params.rendered.train_images, "val": params.rendered.val_images}
        for number, (split, count) in enumerate(counts.items()):
            (folder / split).mkdir()
            write_rendered_split(folder / split, count, params.rendered.image_size, (params.rendered.seed, number))
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


def copy_data_set(source: Path, folder: Path) -> list[str]:
    """Copy the images, .json and .csv files of a folder, at any depth; links are followed.

    Returns:
        The other files, relative to `source`, without hidden ones.

    Raises:
        UserError: `source` holds `folder`, a file can't be copied, names are not UTF-8, or the disk takes two names for
            the same.
    """
    if folder.resolve().is_relative_to(source.resolve()):
        raise UserError(f"fetch.source is {str(source)!r}, which holds this pipeline's data; name the images' folder")
    others, not_utf8 = [], []
    for path in files_below(source):
        name = path.relative_to(source)
        if not is_data_file(path):
            others.append(name.as_posix())
            continue
        if any("\udc80" <= sign <= "\udcff" for sign in name.as_posix()):  # they stand for bytes that are not UTF-8
            not_utf8.append(str(path))
            continue
        if path.exists() and not path.is_file():  # copying a pipe or a device might never end
            raise UserError(f"{path} is a pipe or device, and no file; delete it")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (folder / name).exists():
            raise UserError(
                f"{path} differs from another file only in case or the form of accents, which makes no difference on "
                "this disk; give one of them another name"
            )
        try:
            shutil.copy2(path, folder / name)
        except OSError as error:
            raise UserError(f"{path} can't be copied ({error.strerror}); delete it or make it readable") from None
    if not_utf8:
        count = counted(len(not_utf8), "name")
        raise UserError(f"{count} of files can't be kept, not being UTF-8: {first_names(not_utf8)}; rename the files")
    return others


def read_manifest(path: Path) -> dict[str, str]:
    """Read the sha256 of each file from lines of `sha256  train/name.jpg`, as `sha256sum` writes them.

    Raises:
        UserError: the file is missing or has another format.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(
            f"fetch.manifest: {path} can't be read ({error.strerror}); set it to null to skip the check"
        ) from None
    manifest = {}
    for number, line in enumerate(lines, start=1):
        match = re.fullmatch("([0-9a-f]{64})  (.+)", line)
        if not match:
            raise UserError(f"{path}, line {number}: expected `sha256  path`, got {line[:80]!r}")
        manifest[match[2]] = match[1]
    return manifest


def check_manifest(folder: Path, manifest: dict[str, str], source: str) -> None:
    """Compare all files of a folder with a manifest; `source` is where they come from, for the message.

    Raises:
        UserError: names the first file that differs, is missing or is not listed.
    """
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name in sorted(manifest.keys() | files.keys()):
        if name not in files:
            problem = "is missing"
        elif name not in manifest:
            problem = "is not listed"
        elif sha256_of(files[name]) != manifest[name]:
            problem = "has another checksum"
        else:
            continue
        raise UserError(
            f"{source} does not match fetch.manifest: {name} {problem}; get it again, or set fetch.manifest to null"
        )
