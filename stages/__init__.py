"""The pipeline: one script a stage, named as in dvc.yaml.

`python -m stages.NAME` runs this file before the stage imports its libraries, which takes seconds.
"""

import ast
import sys
from pathlib import Path
from types import TracebackType

from viadet.project.errors import INTERRUPTED, parse_arguments


def answer_arguments() -> None:
    """Print the help, or refuse arguments, of the stage that `python -m stages.NAME` is about to run.

    While `-m` looks for its module, it is the first of `sys.argv`, and only `sys.orig_argv` has the module's name.
    """
    if sys.argv[:1] != ["-m"]:
        return
    package, _, name = sys.orig_argv[-len(sys.argv)].removeprefix("-m").rpartition(".")
    script = Path(__file__).with_name(f"{name}.py")
    if package == __name__ and script.is_file():
        parse_arguments(name, ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))))


def end_interrupted(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Say in one line that Ctrl-C came while a stage imported its libraries; later, `run_stage` does."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    print(f"{Path(sys.argv[0]).stem}: interrupted; run `dvc repro` again to continue", file=sys.stderr)
    sys.exit(INTERRUPTED)


sys.excepthook = end_interrupted
answer_arguments()
