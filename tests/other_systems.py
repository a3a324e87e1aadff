"""What tests need of the operating system; stand-ins for how Windows behaves, and what it refuses in names."""

import errno
import io
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path, PurePath

import psutil
import pytest

_system_open = io.open


@cache
def missing_feature(feature: str) -> str | None:
    """Tell why this system lacks what a test marked with `needs(feature)` uses; None: it is there.

    Raises:
        KeyError: there is no such feature.
    """
    is_there, reason = {
        "affinity": (lambda: hasattr(os, "sched_setaffinity"), "this system can't take cores from a process"),
        "any bytes in names": (_accepts_any_bytes, "file names are Unicode on this system"),
        "file size limit": (_has_resource_limits, "this system has no limit of a process's files"),
        "fork": (lambda: hasattr(os, "fork"), "this system can't fork processes"),
        "linux": (lambda: sys.platform == "linux", "uses what only Linux has"),
        "posix": (lambda: os.name == "posix", "Windows has other shells, reserved names and error messages"),
        "signals": (lambda: hasattr(os, "killpg"), "Windows has no signals for groups of processes"),
        "symlinks": (_can_link, "this user may not make symbolic links (Windows: turn on the developer mode)"),
    }[feature]
    return None if is_there() else reason


def _has_resource_limits() -> bool:
    try:
        import resource  # noqa: F401
    except ImportError:
        return False
    return True


def _accepts_any_bytes() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        try:
            Path(folder, os.fsdecode(b"\xff")).touch()
        except (OSError, UnicodeError):
            return False
    return True


def _can_link() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        try:
            Path(folder, "link").symlink_to(folder)
        except OSError:
            return False
    return True


def like_windows(patch: pytest.MonkeyPatch) -> None:
    """Behave as Windows: no fsync of a file opened for reading, open files stay, text is cp1252 with CR LF."""
    if reason := missing_feature("linux"):
        pytest.skip(reason)
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
