"""Get the photographs with their VIA annotations, and the weights that training starts from.

Reads   fetch.source: the address of a zip, a zip, a folder, or "rendered"; $BALLOON_MIRROR, a folder or address that
        holds files of the same names, is asked first
Writes  data/raw/{train,val}/, data/init/
Run     dvc repro fetch
"""

import hashlib
import lzma
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from stages.detection.cli import StageError, run_stage
from stages.detection.download import fetch_file, is_url
from stages.detection.files import replaced_dir, write_json
from stages.detection.params import FetchParams, read_recipe

DATA_DIR = Path("data")
RAW_DIR = DATA_DIR / "raw"
INIT_DIR = DATA_DIR / "init"
SPLITS = ("train", "val")
SKIPPED_PARTS = {"__MACOSX", ".DS_Store"}
LAYOUT = "expected the folders train and val, each with images and one VIA .json file"
MAX_UNPACKED_BYTES = 50 * 2**30  # far above any such data set; stops an archive made to fill the disk
MAX_RATIO = 100  # of unpacked to packed bytes; photographs hardly shrink


def unpack(archive_path: Path, folder: Path) -> None:
    """Unpack the splits of a zip into `folder`, without what stands before `train/` and `val/`.

    Raises:
        StageError: no whole zip, an entry that points outside of the folder or is a link, or no one pair of splits.
    """
    try:
        with zipfile.ZipFile(archive_path) as archive:
            entries = archive.infolist()
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > min(MAX_UNPACKED_BYTES, MAX_RATIO * archive_path.stat().st_size):
                raise StageError(
                    f"{archive_path.name} unpacks to {unpacked / 2**20:.0f} MiB, allowed are "
                    f"{MAX_UNPACKED_BYTES >> 30} GiB and {MAX_RATIO} times its own size; not unpacked"
                )
            check_entries(archive_path.name, entries)
            targets = split_files(entry.filename for entry in entries if not entry.is_dir())
            if targets is None:
                raise StageError(f"{archive_path.name}: {LAYOUT}; it holds several such pairs")
            for name, target in targets.items():
                (folder / target).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, (folder / target).open("wb") as file:
                    shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError) as error:
        raise StageError(f"{archive_path.name} is no whole zip archive ({error}); get it again") from None


def check_entries(archive_name: str, entries: list[zipfile.ZipInfo]) -> None:
    """Refuse entries that could write elsewhere, over each other, or are no files.

    Raises:
        StageError: names the entry.
    """
    seen = {}
    for entry in entries:
        name = entry.filename
        path = PurePosixPath(name.replace("\\", "/"))
        same = name if entry.is_dir() else seen.setdefault(path.as_posix().casefold(), name)
        if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name):
            problem = "points outside"
        elif stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            problem = "is a link or a device"
        elif same is not name:
            problem = "is there twice" if same == name else f"differs from {same!r} by case only"
        else:
            continue
        raise StageError(f"{archive_name}: entry {name!r} {problem}; nothing was unpacked")


def split_files(names: Iterable[str]) -> dict[str, str] | None:
    """Map the names below `train/` and `val/` to names relative to `data/raw`; None: the two don't lie side by side."""
    targets, prefixes = {}, set()
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        split = next((index for index, part in enumerate(parts[:-1]) if part in SPLITS), None)
        if split is not None and not SKIPPED_PARTS & set(parts):
            targets[name] = "/".join(parts[split:])
            prefixes.add(parts[:split])
    return targets if len(prefixes) <= 1 else None


def copy_splits(source: Path, folder: Path) -> None:
    """Copy the splits of a user's folder.

    Raises:
        StageError: names a file that can't be copied.
    """
    for split in SPLITS:
        if (source / split).is_dir():
            try:
                shutil.copytree(source / split, folder / split, ignore=shutil.ignore_patterns(*SKIPPED_PARTS))
            except shutil.Error as error:  # lists all files that it could not copy
                name, _, reason = error.args[0][0]
                raise StageError(f"{name} can't be copied ({reason})") from None


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
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise StageError(
            f"fetch.manifest: {path} can't be read ({error.strerror}); null leaves the check out"
        ) from None
    manifest = {}
    for number, line in enumerate(lines, start=1):
        match = re.fullmatch("([0-9a-f]{64})  (.+)", line)
        if not match:
            raise StageError(f"{path}, line {number}: expected `sha256  path`, got {line[:80]!r}")
        manifest[match[2]] = match[1]
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


def fetch_images(params: FetchParams, folder: Path) -> None:
    """Fill an empty folder from the source and check it.

    Raises:
        StageError: the source can't be had or is not what it should be.
    """
    if params.rendered is not None:
        from stages.detection.render import write_rendered_split

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
        raise StageError(f"fetch.source is {params.source!r}: no such file or folder")
    check_layout(folder, params.source)
    if params.manifest is not None:
        check_manifest(folder, read_manifest(Path(params.manifest)), params.source)


def fetch_start(init: str, name: str, folder: Path) -> str:
    """Fill an empty folder with the weights that `model.init` names; returns what they are.

    Raises:
        StageError: they don't exist, can't be had or are altered.
    """
    if init == "random":
        start = {"init": "random"}
    else:
        fetch_weights = {"coco": fetch_coco_weights, "imagenet": fetch_imagenet_weights}.get(init)
        path = fetch_weights(name, folder) if fetch_weights else copy_weights(Path(init), folder)
        start = {"init": init if fetch_weights else "path", "file": path.name, "sha256": sha256_of(path)}
    write_json(folder / "start.json", start)
    return start["init"]


def copy_weights(path: Path, folder: Path) -> Path:
    """Copy a checkpoint, or the model.safetensors of a folder.

    Raises:
        StageError: there is none.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.is_file() or file.suffix not in (".safetensors", ".pth", ".pt"):
        raise StageError(
            f"model.init is {str(path)!r}: no such .safetensors, .pth or .pt file; "
            "allowed are random, coco, imagenet and the path of a checkpoint"
        )
    return Path(shutil.copy(file, folder))


def fetch_coco_weights(name: str, folder: Path) -> Path:
    """Get effdet's release file for a network; eight digits at the end of its name begin its sha256.

    Raises:
        StageError: there is none, or it is altered.
    """
    from stages.detection.network import effdet_config

    url = effdet_config(name).url
    if not url:
        raise StageError(f"model.init is coco, but effdet has no COCO weights for {name}; use imagenet or random")
    path = fetch_file(url, folder)
    prefix = re.search("-([0-9a-f]{8})$", path.stem)
    digest = sha256_of(path)
    if prefix and not digest.startswith(prefix[1]):
        raise StageError(f"{path.name} is altered: its sha256 begins with {digest[:8]}; get it again")
    return path


def fetch_imagenet_weights(name: str, folder: Path) -> Path:
    """Get timm's ImageNet weights for a network's backbone, from the hub that timm names (or $HF_ENDPOINT).

    A mirror holds them as `<timm's model name>.safetensors`, such as tf_efficientnet_lite0.in1k.safetensors.

    Raises:
        StageError: there are none, or they can't be had.
    """
    import timm
    from huggingface_hub import hf_hub_url

    from stages.detection.network import effdet_config

    backbone_name = effdet_config(name).backbone_name
    backbone = timm.get_pretrained_cfg(backbone_name) if timm.is_model(backbone_name) else None
    if backbone is None or not (backbone.hf_hub_id or backbone.url):
        raise StageError(f"model.init is imagenet, but timm has no weights for {backbone_name}; use random")
    if not backbone.hf_hub_id:
        return fetch_file(backbone.url, folder)
    # Not hf_hub_download: without a network it takes 23 s to say so, in seven lines.
    url = hf_hub_url(backbone.hf_hub_id, "model.safetensors")
    return fetch_file(url, folder, f"{backbone.hf_hub_id.rpartition('/')[2]}.safetensors")


def main() -> None:
    """Fetch weights, then images; an error leaves the folders of both as they were."""
    recipe = read_recipe()
    with replaced_dir(INIT_DIR) as init_folder, replaced_dir(RAW_DIR) as raw_folder:
        start = fetch_start(recipe.model.init, recipe.model.name, init_folder)
        fetch_images(recipe.fetch, raw_folder)
    counts = ", ".join(f"{split} {len(list((RAW_DIR / split).iterdir()))} files" for split in SPLITS)
    print(f"{RAW_DIR}: {counts}; start: {start}")


if __name__ == "__main__":
    run_stage(main, __doc__)
