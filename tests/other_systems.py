"""Stand-ins for how Windows behaves, and what it refuses in names."""

import errno
import io
import os
import shutil
import sys
from pathlib import Path, PurePath

import psutil
import pytest

_system_open = io.open


def like_windows(patch: pytest.MonkeyPatch) -> None:
    """Behave as Windows: no fsync of a file opened for reading, open files stay, text is cp1252 with CR LF."""
    if sys.platform != "linux":
        pytest.skip("the stand-ins for Windows need Linux")
    patch.delattr(os, "O_DIRECTORY")
    patch.setattr(os, "fsync", _only_if_writable(os.fsync))
    for name in ("replace", "rename", "unlink", "remove", "rmdir"):
        patch.setattr(os, name, _only_if_closed(getattr(os, name)))
    patch.setattr(shutil, "rmtree", _only_if_closed(shutil.rmtree))
    for module in ("builtins", "io"):
        patch.setattr(f"{module}.open", _open_like_windows)


def _only_if_writable(fsync):
    import fcntl

    def checked(descriptor):
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        fsync(descriptor)

    return checked


def _only_if_closed(operation):
    def checked(path, *others, **options):
        if options.get("dir_fd") is None:
            for place in (path, *others):
                if os.path.lexists(place) and open_below(Path(place).absolute()):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        return operation(path, *others, **options)

    return checked


def open_below(path: Path) -> list[Path]:
    """The files that this process or its workers have open or mapped, at a path or below it."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    names = set()
    for process in processes:
        names |= {file.path for file in process.open_files()}
        maps = _system_open(f"/proc/{process.pid}/maps", encoding="utf-8").read().splitlines()
        names |= {line.split(maxsplit=5)[5] for line in maps if "/" in line}
    return [Path(name) for name in names if Path(name).is_relative_to(path)]


def _open_like_windows(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, **options):
    if "b" not in mode:
        encoding = "cp1252" if encoding in (None, "locale") else encoding
        newline = "\r\n" if newline is None and mode[0] in "wax" else newline
    return _system_open(file, mode, buffering, encoding, errors, newline, **options)


def refused_by_windows(path: PurePath, longest: int = 260) -> bool:
    """Tell whether Windows refuses a relative path: signs, devices, ends of names, or its length."""
    devices = {"con", "prn", "aux", "nul", *(f"{name}{number}" for name in ("com", "lpt") for number in range(10))}
    for part in path.parts:
        if set(part) & set('<>:"|?*\\') or part.endswith((".", " ")) or part.split(".")[0].casefold() in devices:
            return True
    return len(str(path)) > longest
