"""How a stage or command starts and how it ends early: one line for people; exit code 1, 130 or 143."""

import argparse
import errno
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
TERMINATED = 143  # 128 + SIGTERM
SHARING_VIOLATION = 32  # Windows' own number; its errno is that of missing permissions


class UserError(Exception):
    """Something that the user can fix: its text names what is wrong, where, and what to do, in one line."""


class FileError(UserError):
    """A file or folder that can't be used; its text is the path and the reason, for who knows the file by that path."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)  # as worker processes need it, which send it pickled
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.path} {self.reason}"


class Terminated(KeyboardInterrupt):
    """SIGTERM, as `kill` and batch systems send it; ends a stage or command as Ctrl-C does, its files tidied up."""


def run_stage(main: Callable[[], None], doc: str | None) -> None:
    """Run a stage's `main`, or print its docstring if the command line asks for `--help`; it has no other arguments."""
    escape_unprintable()
    name = Path(sys.argv[0]).stem
    formatter = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(f"python -m stages.{name}", description=doc, formatter_class=formatter).parse_args()
    with one_line_errors(name, "run `dvc repro` again"):
        main()


def escape_unprintable() -> None:
    """Print signs that the terminal's encoding lacks, such as some of file names, as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")


def ignore_pillow() -> None:
    """Ignore what Pillow warns of in this process, which is a stage, a command or its worker.

    It warns of large images before it refuses huge ones, and of odd EXIF data; all that matters here is an error.
    """
    warnings.filterwarnings("ignore", module="PIL")


@contextmanager
def one_line_errors(name: str, again: str) -> Iterator[None]:
    """End the process with one line if the user can fix what went wrong (exit code 1) or ended it (130 or 143).

    The line begins with the stage's or command's `name`, and may end with how to start it `again`.
    """
    handler = signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        with warnings.catch_warnings():
            ignore_pillow()
            yield
    except UserError as error:
        sys.exit(f"{name}: {error}")
    except OSError as error:
        sys.exit(f"{name}: {os_error_reason(error)} and {again}")
    except KeyboardInterrupt as interrupt:
        terminated = isinstance(interrupt, Terminated)
        print(f"{name}: {'terminated' if terminated else 'interrupted'}; {again} to continue", file=sys.stderr)
        sys.exit(TERMINATED if terminated else INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, handler)


def _raise_terminated(number: int, frame: object) -> None:
    raise Terminated


def os_error_reason(error: OSError) -> str:
    """Describe what the system refused, and what to do about it."""
    advice = {
        errno.ENOSPC: "free some space",
        errno.EDQUOT: "free some space",
        errno.EACCES: "check your permissions there",
        errno.EPERM: "check your permissions there",
        errno.EROFS: "check your write permission there",
    }.get(error.errno, "fix this")
    if getattr(error, "winerror", None) == SHARING_VIOLATION:
        advice = "close the program that has it open"
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or ' '.join(str(error).split())}; {advice}"
