"""The pipeline: one script a stage, named as in dvc.yaml."""

import sys
from pathlib import Path
from types import TracebackType

from viadet.project.errors import INTERRUPTED


def end_interrupted(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Say in one line that Ctrl-C came while a stage imported its libraries, which takes seconds.

    Later, `run_stage` does.
    """
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    print(f"{Path(sys.argv[0]).stem}: interrupted; run `dvc repro` again to continue", file=sys.stderr)
    sys.exit(INTERRUPTED)


sys.excepthook = end_interrupted
