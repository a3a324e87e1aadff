"""Time start-up: importing viadet, and `dvc repro` with nothing to do, in seconds of CPU.

    python -m benchmarks.start_up

Each is compared with Python alone, `dvc repro` with DVC's own start. `dvc repro` runs in a copy of this working
tree, in which a tiny sample was run through all stages before.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.project import ROOT, cpu_of_children, write_params
from benchmarks.timing import Row, Seconds, alternate, cost_row, make_parser, write_results

ROUNDS = 5
PYTHON, TORCH, DVC = "python -c pass", "python -c 'import torch'", "dvc --version"
IMPORT, REPRO = "python -c 'import viadet'", "dvc repro, nothing to do"
TINY = {  # changes of the recipe `sample`: only that it ran counts
    "fetch": {"rendered": {"train_images": 6, "val_images": 3, "image_size": 128, "seed": 0}},
    "model": {"init": "random", "image_size": 128, "test_size": None},
    "train": {"epochs": 1, "warmup_epochs": 0, "validate_every": 1, "device": "cpu"},
    "evaluate": {"bootstrap": 0, "test_time": None},
}
Command = tuple[str, ...]


def make_commands(finished: Path) -> dict[str, Command]:
    """Name the commands that are timed; `finished` is the folder of a project with nothing to do."""
    python = sys.executable
    commands = {PYTHON: (python, "-c", "pass"), TORCH: (python, "-c", "import torch")}
    commands |= {IMPORT: (python, "-c", "import viadet")}
    dvc = (python, "-m", "dvc", "--cd", str(finished))
    return commands | {DVC: (python, "-m", "dvc", "--version"), REPRO: (*dvc, "repro")}


def run(command: Command, folder: Path) -> str:
    """Run a command in a folder, with this Python first on the path, and return its output.

    Raises:
        CalledProcessError: it failed.
    """
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout


def finish_sample(folder: Path) -> None:
    """Copy the working tree into a folder and run the tiny sample there."""
    listed = run(("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    write_params(folder, "sample", TINY)
    run(("git", "init", "--quiet"), folder)
    run((sys.executable, "-m", "dvc", "repro"), folder)


def starting(commands: dict[str, Command]) -> dict[str, Callable[[], object]]:
    """Set up the commands as turns."""
    return {name: partial(run, command, ROOT) for name, command in commands.items()}


def make_rows(seconds: Seconds) -> list[Row]:
    """Compare each command with what starts below it."""
    kinds = [kind for _, kind in seconds if kind not in (PYTHON, DVC)]
    rows = []
    for kind in kinds:
        reference = DVC if kind == REPRO else PYTHON
        rows.append(cost_row(kind, "s of CPU", seconds["ours", kind], reference, seconds["ours", reference]))
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Time all commands and write the results."""
    parser = make_parser(__doc__, ROUNDS)
    options = parser.parse_args(arguments)
    if os.name == "nt":
        parser.error("Windows does not tell the CPU time of child processes; run this on another system")
    with tempfile.TemporaryDirectory() as name:
        finish_sample(Path(name))
        sides = {"ours": partial(starting, make_commands(Path(name)))}
        seconds = alternate(sides, options.rounds, cpu_of_children, in_processes=False)
    write_results(options.results, "start_up", {"rounds": options.rounds}, make_rows(seconds))


if __name__ == "__main__":
    main()
