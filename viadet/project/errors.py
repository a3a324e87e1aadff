"""How a stage or command starts and how it fails: one line for people, exit code 1, or 130 after Ctrl-C."""

import argparse
import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
SHARING_VIOLATION = 32  # Windows' own number; its errno is that of missing permissions


class UserError(Exception):
    """Something that the user can fix: its text names what is wrong, where, and what to do, in one line."""


def run_stage(main: Callable[[], None], doc: str) -> None:
    """Run a stage's `main`; `--help` prints the stage's docstring.

    Args:
        main: reads params and inputs, writes outputs; raises UserError for what the user can fix.
        doc: the stage module's docstring.
    """
    for stream in (sys.stdout, sys.stderr):  # file names may have signs that the terminal's encoding lacks
        stream.reconfigure(errors="backslashreplace")
    argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with one_line_errors(Path(sys.argv[0]).stem, "run `dvc repro` again"):
        main()


@contextmanager
def one_line_errors(name: str, again: str) -> Iterator[None]:
    """End the process with one line if the user can fix what went wrong (exit code 1) or interrupted it (130).

    Args:
        name: of the stage or command, which begins the line.
        again: how to start it again.
    """
    try:
        yield
    except UserError as error:
        sys.exit(f"{name}: {error}")
    except OSError as error:
        sys.exit(f"{name}: {os_error_reason(error)} and {again}")
    except KeyboardInterrupt:
        print(f"{name}: interrupted; {again} to continue", file=sys.stderr)
        sys.exit(INTERRUPTED)


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
