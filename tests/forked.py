"""The stage `train` in processes of their own, forked from one that has imported torch: they start at once."""

import functools
import importlib
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

from viadet.project.errors import run_stage

LOG = Path("log")


@functools.cache
def forkserver():
    """Not when this module is imported: Windows has none."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["stages.train"])
    return context


def run_here(folder: Path, environment: dict[str, str]) -> None:
    """Become a leader of a process group, as a shell's jobs are, and run the stage as `python -m stages.train` does."""
    os.setsid()
    os.chdir(folder)
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what was started with `&` ignores it, and passes that on
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    sys.argv = ["stages/train.py"]
    train = importlib.import_module("stages.train")
    run_stage(train.main, train.__doc__)


def start_training(folder: Path | None = None, **environment: str) -> BaseProcess:
    """Start the stage in a folder, the current one by default; it writes to the file LOG there."""
    process = forkserver().Process(target=run_here, args=(folder or Path.cwd(), environment))
    process.start()
    while process.is_alive() and os.getpgid(process.pid) != process.pid:
        time.sleep(0.001)
    return process


def finish_training() -> str:
    """Run the stage to its end; what it printed."""
    LOG.unlink(missing_ok=True)
    process = start_training()
    process.join()
    log = LOG.read_text(encoding="utf-8")
    assert process.exitcode == 0, log
    return log


def kill(process: BaseProcess) -> None:
    """Kill it with its workers."""
    os.killpg(process.pid, signal.SIGKILL)
    process.join()


def wait_until(process: BaseProcess, happened) -> None:
    while not happened():
        assert process.is_alive(), f"training ended by itself\n{LOG.read_text(encoding='utf-8')}"
        time.sleep(0.0005)


def epochs_kept() -> set[str]:
    return {path.name for path in Path("data/checkpoint").glob("*/epoch_*.pt")}
