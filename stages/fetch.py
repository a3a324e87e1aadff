"""Get the photographs with their VIA annotations, and the weights that training starts from.

Reads   fetch.source: the address of a zip, a zip, a folder, or "rendered"; $BALLOON_MIRROR, a folder or address that
        holds files of the same names, is asked first
Writes  data/raw/{train,val}/, data/init/
Run     dvc repro fetch
"""

import hashlib
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from stages.detection.cli import StageError, run_stage
from stages.detection.download import fetch_file, is_url
from stages.detection.files import replaced_dir, write_json
from stages.detection.params import FetchParams, ModelParams, read_recipe

DATA_DIR = Path("data")
RAW_DIR = DATA_DIR / "raw"
INIT_DIR = DATA_DIR / "init"
SPLITS = ("train", "val")
SKIPPED_PARTS = {"__MACOSX", ".DS_Store"}
LAYOUT = "expected the folders train and val, each with images and one VIA .json file"
MAX_UNPACKED_BYTES = 50 * 2**30  # far above any such data set; stops an archive made to fill the disk


def unpack(archive_path: Path, folder: Path) -> None:
    """Unpack the splits of a zip into `folder`, without what stands before `train/` and `val/`.

    Raises:
        StageError: no whole zip, an entry that points outside of the folder or is a link, or no splits.
    """
    try:
        with zipfile.ZipFile(archive_path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist() if not entry.is_dir()}
            if sum(entry.file_size for entry in entries.values()) > MAX_UNPACKED_BYTES:
                raise StageError(
                    f"{archive_path.name} unpacks to more than {MAX_UNPACKED_BYTES >> 30} GiB; not unpacked"
                )
            for name, entry in entries.items():
                check_entry(archive_path.name, name, entry)
            for name, target in split_files(entries).items():
                (folder / target).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, (folder / target).open("wb") as file:
                    shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise StageError(f"{archive_path.name} is no whole zip archive ({error}); get it again") from None


def check_entry(archive_name: str, name: str, entry: zipfile.ZipInfo) -> None:
    """Refuse entries that could write elsewhere.

    Raises:
        StageError: names the entry.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    outside = path.is_absolute() or ".." in path.parts or ":" in path.parts[0]
    if outside or stat.S_ISLNK(entry.external_attr >> 16):
        raise StageError(f"{archive_name}: entry {name!r} points outside of the archive; nothing was unpacked")


def split_files(names: dict[str, zipfile.ZipInfo]) -> dict[str, str]:
    """Map the names below `train/` and `val/` to names relative to `data/raw`."""
    targets = {}
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        split = next((index for index, part in enumerate(parts[:-1]) if part in SPLITS), None)
        if split is not None and not SKIPPED_PARTS & set(parts):
            targets[name] = "/".join(parts[split:])
    return targets


def copy_splits(source: Path, folder: Path) -> None:
    """Copy the splits of a user's folder."""
    for split in SPLITS:
        if (source / split).is_dir():
            shutil.copytree(source / split, folder / split, ignore=shutil.ignore_patterns(*SKIPPED_PARTS))


def check_layout(folder: Path, source: str) -> None:
    """Check that both splits are there with annotations and images.

    Raises:
        StageError: says what is missing.
    """
    for split in SPLITS:
        files = [path for path in (folder / split).glob("*") if path.is_file()]
        annotations = [path for path in files if path.suffix.lower() == ".json"]
        if len(annotations) != 1 or len(files) < 2:
            images = len(files) - len(annotations)
            raise StageError(f"{source}: {LAYOUT}; {split} has {images} images and {len(annotations)} .json files")


def read_manifest(path: Path) -> dict[str, str]:
    """Read lines of `sha256  train/name.jpg`, as `sha256sum` writes them.

    Raises:
        StageError: the file is absent or has another form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise StageError(
            f"fetch.manifest: {path} can't be read ({error.strerror}); null leaves the check out"
        ) from None
    manifest = {}
    for number, line in enumerate(lines, start=1):
        digest, separator, name = line.partition("  ")
        if not separator or len(digest) != 64:
            raise StageError(f"{path}, line {number}: expected `sha256  path`, got {line[:80]!r}")
        manifest[name] = digest
    return manifest


def check_manifest(folder: Path, manifest: dict[str, str], source: str) -> None:
    """Compare every file with the manifest.

    Raises:
        StageError: names the first file that is altered, missing or too many.
    """
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name in sorted(manifest.keys() | found.keys()):
        if name not in found:
            problem = "is missing"
        elif name not in manifest:
            problem = "does not belong to it"
        elif sha256_of(found[name]) != manifest[name]:
            problem = "is altered"
        else:
            continue
        raise StageError(
            f"{source} is not the data set of fetch.manifest: {name} {problem}; "
            "get it anew, or set fetch.manifest to null"
        )


def sha256_of(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_images(params: FetchParams) -> None:
    """Fill data/raw from the source, checked; an error leaves it as it was.

    Raises:
        StageError: the source can't be had or is not what it should be.
    """
    with replaced_dir(RAW_DIR) as folder, TemporaryDirectory(dir=DATA_DIR, prefix=".fetch.") as temporary:
        if params.rendered is not None:
            from stages.detection.render import write_rendered_split

            sizes = zip(SPLITS, (params.rendered.train_images, params.rendered.val_images), strict=True)
            for number, (split, images) in enumerate(sizes):
                (folder / split).mkdir()
                seed = (params.rendered.seed, number)
                write_rendered_split(folder / split, images, params.rendered.image_size, seed)
        elif is_url(params.source):
            archive_path = Path(temporary) / Path(urlsplit(params.source).path).name
            fetch_file(params.source, archive_path)
            unpack(archive_path, folder)
        elif Path(params.source).is_dir():
            copy_splits(Path(params.source), folder)
        elif Path(params.source).is_file():
            unpack(Path(params.source), folder)
        else:
            raise StageError(f"fetch.source is {params.source!r}: no such file or folder")
        check_layout(folder, params.source)
        if params.manifest is not None:
            check_manifest(folder, read_manifest(Path(params.manifest)), params.source)


def fetch_start(params: ModelParams) -> str:
    """Fill data/init with the weights that `model.init` names; returns what they are.

    Raises:
        StageError: they don't exist, can't be had or are altered.
    """
    with replaced_dir(INIT_DIR) as folder:
        start = {"init": params.init}
        if params.init == "coco":
            start |= fetch_coco_weights(params.name, folder)
        elif params.init == "imagenet":
            start |= fetch_imagenet_weights(params.name, folder)
        elif params.init != "random":
            path = Path(params.init)
            path = path / "model.safetensors" if path.is_dir() else path
            if not path.is_file() or path.suffix not in (".safetensors", ".pth", ".pt"):
                raise StageError(
                    f"model.init is {params.init!r}: no such .safetensors, .pth or .pt file; "
                    "allowed are random, coco, imagenet and the path of a checkpoint"
                )
            shutil.copyfile(path, folder / path.name)
            start = {"init": "path", "file": path.name, "sha256": sha256_of(path)}
        write_json(folder / "start.json", start)
    return start["init"]


def fetch_coco_weights(name: str, folder: Path) -> dict[str, str]:
    """Get effdet's release file for a network; the digits that end its name begin its sha256.

    Raises:
        StageError: there is none, or it is altered.
    """
    from stages.detection.network import effdet_config

    url = effdet_config(name).url
    if not url:
        raise StageError(f"model.init is coco, but effdet has no COCO weights for {name}; use imagenet or random")
    path = folder / Path(urlsplit(url).path).name
    fetch_file(url, path)
    digest = sha256_of(path)
    prefix = path.stem.rpartition("-")[2]
    if not digest.startswith(prefix):
        path.unlink()
        raise StageError(f"{path.name} is altered: its sha256 begins with {digest[:8]}, not {prefix}; get it again")
    return {"file": path.name, "sha256": digest}


def fetch_imagenet_weights(name: str, folder: Path) -> dict[str, str]:
    """Get timm's ImageNet weights for a network's backbone, from the hub that timm names (or $HF_ENDPOINT).

    A mirror holds them as `<timm's model name>.safetensors`, such as tf_efficientnet_lite0.in1k.safetensors.

    Raises:
        StageError: there are none, or they can't be had.
    """
    import timm
    from huggingface_hub import hf_hub_url

    from stages.detection.network import effdet_config

    backbone_name = effdet_config(name).backbone_name
    repository = timm.get_pretrained_cfg(backbone_name).hf_hub_id
    if not repository:
        raise StageError(f"model.init is imagenet, but timm has no weights for {backbone_name}; use random")
    path = folder / f"{repository.rpartition('/')[2]}.safetensors"
    fetch_file(hf_hub_url(repository, "model.safetensors"), path)
    return {"file": path.name, "sha256": sha256_of(path)}


def main() -> None:
    """Fetch images, then weights."""
    recipe = read_recipe()
    DATA_DIR.mkdir(exist_ok=True)
    try:
        fetch_images(recipe.fetch)
        start = fetch_start(recipe.model)
    except OSError as error:
        raise StageError(f"{error.filename or DATA_DIR}: {error.strerror or error}") from None
    counts = ", ".join(f"{split} {len(list((RAW_DIR / split).iterdir()))} files" for split in SPLITS)
    print(f"{RAW_DIR}: {counts}; training starts from {start} weights")


if __name__ == "__main__":
    run_stage(main, __doc__)
