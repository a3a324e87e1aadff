"""The state of a training on disk: a killed one goes on and ends with the bytes of an undisturbed one."""

import hashlib
import io
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from stages.detection.files import remove_leftovers, replaced_file

KEPT = 2  # the newest ones: should one be damaged, the one before it serves
CODE_DIR = Path(__file__).resolve().parents[1]
LIBRARIES = ("effdet", "numpy", "pillow", "pycocotools", "timm", "torch", "torchvision")


def training_key(settings: dict[str, Any], inputs: list[Path]) -> str:
    """Name a training by all that its result depends on, so that no checkpoint of another one is taken for it.

    Args:
        settings: params, as JSON can hold them.
        inputs: folders whose files are read.

    Returns:
        Hexadecimal digits of a sha256 over settings, input files, libraries, and all of this project's code loaded now.
    """
    loaded = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    code = {Path(file).resolve() for file in loaded if file}
    files = {path.relative_to(CODE_DIR).as_posix(): path for path in code if path.is_relative_to(CODE_DIR)}
    files |= {path.as_posix(): path for folder in inputs for path in folder.rglob("*") if path.is_file()}
    parts = {"settings": settings, "libraries": {name: version(name) for name in LIBRARIES}, "files": {}}
    for name, path in files.items():
        with path.open("rb") as file:
            parts["files"][name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def save_state(folder: Path, state: dict[str, Any], epoch: int, key: str) -> None:
    """Write a state of tensors, numbers and text; a kill at any moment leaves the ones before it whole.

    Raises:
        OSError: it can't be written.
    """
    buffer = io.BytesIO()
    torch.save(state | {"epoch": epoch, "key": key}, buffer)  # into a file, a full disk would be a RuntimeError
    with replaced_file(folder / f"epoch_{epoch:05d}.pt") as temporary:
        temporary.write_bytes(buffer.getbuffer())
    # By time: an earlier training may have got further.
    for path in sorted(folder.glob("epoch_*.pt"), key=lambda path: path.stat().st_mtime_ns)[:-KEPT]:
        path.unlink(missing_ok=True)


def newest_state(folder: Path, key: str) -> dict[str, Any] | None:
    """Read the newest whole state of this very training; None if there is none. Pickled code is never run."""
    remove_leftovers(folder)
    for path in sorted(folder.glob("epoch_*.pt"), reverse=True):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged zip or pickle fails in many ways
            print(f"{path} is damaged and left out ({' '.join(str(error).split())[:200]})")
            continue
        if isinstance(state, dict) and state.get("key") == key:
            return state
        print(f"{path} is of other params, code or data and not taken")
    return None
