"""How a stage starts and how it fails: one line for people, exit code 1."""

import argparse
import errno
import sys
from collections.abc import Callable
from pathlib import Path


class UserError(Exception):
    """Something that the user can fix: its text names what is wrong, where, and what to do, in one line."""


def run_stage(main: Callable[[], None], doc: str) -> None:
    """Run a stage's `main`; `--help` prints the stage's docstring.

    Args:
        main: reads params and inputs, writes outputs; raises UserError for what the user can fix.
        doc: the stage module's docstring.
    """
    argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        main()
    except UserError as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: {error}")
    except OSError as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: {os_error_line(error)}")
    except KeyboardInterrupt:
        sys.exit(f"{Path(sys.argv[0]).stem}: interrupted; `dvc repro` continues")


def os_error_line(error: OSError) -> str:
    """Describe in one line what the system refused, and what to do."""
    advice = {
        errno.ENOSPC: "free some space and run `dvc repro` again",
        errno.EDQUOT: "free some space and run `dvc repro` again",
        errno.EACCES: "check your write permission there",
        errno.EPERM: "check your write permission there",
        errno.EROFS: "check your write permission there",
    }.get(error.errno, "fix this and run `dvc repro` again")
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or ' '.join(str(error).split())}; {advice}"
