"""The state of a training on disk: a killed one continues and ends with the bytes of an undisturbed one."""

import contextlib
import hashlib
import io
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from viadet.project.files import replaced_file, sha256_of, write_json
from viadet.project.libraries import LIBRARIES, installed_versions

KEPT = 2  # the newest ones: if one is damaged, the one before it serves
SAVING_SHARE = 20  # at the end of an epoch, if training has since taken this many times what saving takes
ROOT_DIR = Path(__file__).resolve().parents[2]
CODE_DIRS = (ROOT_DIR / "stages", ROOT_DIR / "viadet")
KEY_DIGITS = 12  # of a training's key in the name of its folder
HASHES_PATH = Path("data/hashes.json")  # of the input files when they were last read


class Checkpoints:
    """The checkpoints of one training, in a folder of their own; those of other trainings stay beside it."""

    def __init__(self, folder: Path, key: str) -> None:
        """Take the folder of all trainings and the `training_key` of this one."""
        self.folder, self.key = folder / key[:KEY_DIGITS], key
        self.saved_at, self.saving_seconds = time.perf_counter(), 0.0

    def others(self) -> list[Path]:
        """Find the newest checkpoint of each other training: of other params, code, data, libraries or device."""
        folders = (path for path in self.folder.parent.glob("*/") if path != self.folder)
        return sorted(max(files) for path in folders if (files := list(path.glob("epoch_*.pt"))))

    def newest(self) -> dict[str, Any] | None:
        """Read the newest intact state of this training; None if there is none."""
        return newest_state(self.folder, self.key)

    def newest_path(self) -> Path | None:
        """Find the newest file; None if there is none."""
        return max(self.folder.glob("epoch_*.pt"), default=None)

    def save_if_due(self, state: Callable[[], dict[str, Any]], epoch: int, is_last: bool) -> None:
        """Save after the last epoch, and after others as often as SAVING_SHARE allows."""
        started = time.perf_counter()
        if is_last or started - self.saved_at >= SAVING_SHARE * self.saving_seconds:
            save_state(self.folder, state(), epoch, self.key)
            self.saved_at = time.perf_counter()
            self.saving_seconds = self.saved_at - started

    def remove(self) -> None:
        """Remove this training's checkpoints once it has ended."""
        shutil.rmtree(self.folder)
        with contextlib.suppress(OSError):  # others are there
            self.folder.parent.rmdir()


def training_key(settings: dict[str, Any], inputs: list[Path]) -> str:
    """Name a training by all that its result depends on, so that no other run's checkpoint is taken for its own.

    Args:
        settings: params, device and the like, as JSON can hold them.
        inputs: folders whose files are read.

    Returns:
        Hexadecimal digits of a sha256 over settings, input files, libraries, and all of this project's code loaded now.
    """
    loaded = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    code = {Path(file).resolve() for file in loaded if file}
    code = {path for path in code if any(path.is_relative_to(folder) for folder in CODE_DIRS)}
    files = {path.relative_to(ROOT_DIR).as_posix(): sha256_of(path) for path in code}
    files |= hashes_of([path for folder in inputs for path in folder.rglob("*") if path.is_file()])
    parts = {"settings": settings, "libraries": installed_versions(LIBRARIES["network"]), "files": files}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def hashes_of(paths: list[Path]) -> dict[str, str]:
    """Compute the sha256 of each file by its name, reading only those that changed since the last time, as git does.

    dvc.lock has hashes of these folders, too, but of what they should hold: after `git switch` or an edit they hold
    something else until `dvc repro`, and the training would continue from a checkpoint of other images.
    """
    known, hashes = {}, {}
    with contextlib.suppress(OSError, ValueError):  # missing or damaged: all are read
        known = json.loads(HASHES_PATH.read_text(encoding="utf-8"))
    for path in paths:
        status = path.stat()  # before the file is read: a change meanwhile is seen the next time
        state = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        name = path.as_posix()
        known_state, digest = known.get(name, (None, None))
        hashes[name] = (state, digest if state == known_state else sha256_of(path))
    with contextlib.suppress(OSError):  # it only saves time
        write_json(HASHES_PATH, hashes)
    return {name: digest for name, (_, digest) in hashes.items()}


def save_state(folder: Path, state: dict[str, Any], epoch: int, key: str) -> None:
    """Write a state of tensors, numbers and text; a kill at any moment leaves the earlier ones intact.

    Raises:
        OSError: it can't be written.
    """
    buffer = io.BytesIO()
    torch.save(state | {"epoch": epoch, "key": key}, buffer)  # into a file, a full disk would be a RuntimeError
    with replaced_file(folder / f"epoch_{epoch:05d}.pt") as temporary:
        temporary.write_bytes(buffer.getbuffer())
    for path in sorted(folder.glob("epoch_*.pt"))[:-KEPT]:
        path.unlink(missing_ok=True)


def newest_state(folder: Path, key: str) -> dict[str, Any] | None:
    """Read the newest intact state of the training with this key; None if there is none.

    Pickled code is never run.
    """
    for path in sorted(folder.glob("epoch_*.pt"), reverse=True):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged zip or pickle fails in many ways
            print(f"{path} is damaged and ignored ({' '.join(str(error).split())[:200]})")
            continue
        if isinstance(state, dict) and state.get("key") == key:
            return state
        print(f"{path} is a checkpoint of another training and ignored")
    return None
