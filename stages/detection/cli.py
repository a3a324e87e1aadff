"""How every stage starts and how it fails: one line for people, exit code 1."""

import argparse
import errno
import sys
from collections.abc import Callable
from pathlib import Path


class StageError(Exception):
    """Something that the user can mend: its text names what is wrong, where, and what to do, in one line."""


def run_stage(main: Callable[[], None], doc: str) -> None:
    """Run a stage's `main`; `--help` prints the stage's docstring.

    Args:
        main: reads params and inputs, writes outputs; raises StageError for what the user can mend.
        doc: the stage module's docstring.
    """
    argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        main()
    except StageError as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: {error}")
    except OSError as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: {reason_of(error)}")
    except KeyboardInterrupt:
        sys.exit(f"{Path(sys.argv[0]).stem}: interrupted; `dvc repro` goes on")


def reason_of(error: OSError) -> str:
    """Say in one line what the system refused, and what to do."""
    advice = {
        errno.ENOSPC: "free some space and run `dvc repro` again",
        errno.EDQUOT: "free some space and run `dvc repro` again",
        errno.EACCES: "give yourself the right to write there",
        errno.EPERM: "give yourself the right to write there",
        errno.EROFS: "give yourself the right to write there",
    }.get(error.errno, "mend this and run `dvc repro` again")
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or ' '.join(str(error).split())}; {advice}"
