"""Git and DVC as the commands run them, in the project's root."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import click

from viadet.commands.interrupts import interrupts_handled
from viadet.project.errors import Terminated, UserError

PROGRAMS = {"git": ["git"], "dvc": [sys.executable, "-m", "dvc"]}  # DVC need not be on PATH


def enter_project() -> None:
    """Work in the project's root, the next folder upwards that has a dvc.yaml, until the command ends.

    Raises:
        UserError: there is none.
    """
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "dvc.yaml").is_file():
            click.get_current_context().with_resource(contextlib.chdir(folder))
            return
    advice = "run this in a clone of the project, as the installed package has no pipeline"
    raise UserError(f"no dvc.yaml in {Path.cwd()} or above it; {advice}")


def read_output(program: str, *arguments: str) -> str:
    """Run git or dvc and return its standard output; bytes that are no UTF-8 are escaped as in file names.

    Raises:
        UserError: the program fails; with its error message.
    """
    try:
        result = subprocess.run([*PROGRAMS[program], *arguments], capture_output=True, env=_environment(), check=False)
    except FileNotFoundError:
        raise UserError(f"{program} is missing; install it, or add its folder to PATH") from None
    if result.returncode:
        lines = result.stderr.decode(errors="replace").splitlines()
        errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
        error = errors[0] if errors else " ".join(" ".join(lines).split())
        raise UserError(_explain(error, f"{program} {' '.join(arguments[:2])}"))
    return result.stdout.decode(errors="surrogateescape")


def check_identity() -> None:
    """Check that git knows who commits: DVC saves changes and experiments as commits.

    Raises:
        UserError: it does not, with the commands that tell it; or git is missing.
    """
    read_output("git", "--version")
    try:
        read_output("git", "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT")
    except UserError:
        raise UserError(
            "git does not know your name and e-mail address, with which DVC saves experiments; run "
            '`git config --global user.name "Your Name"` and `git config --global user.email you@example.org`'
        ) from None


def run_visibly(program: str, *arguments: str) -> None:
    """Run git or dvc with its output on the terminal.

    After Ctrl-C or SIGTERM, it is interrupted, and this waits until it has ended and removed its folders.

    Raises:
        UserError: the program fails; its error messages are on the terminal.
    """
    process, received = None, []

    def interrupt(number: int, _: object) -> None:
        received.append(number)
        if process and sys.platform != "win32":  # there, Ctrl-C reaches every process of the console
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.killpg(process.pid, signal.SIGINT)

    with interrupts_handled(interrupt):
        # In a process group of its own, DVC and the stage get one interrupt each, also if only this process got one.
        process = subprocess.Popen(
            [*PROGRAMS[program], *arguments], stdin=subprocess.DEVNULL, env=_environment(), process_group=0
        )
        if received:  # while it was starting
            interrupt(received.pop(), None)
        process.wait()
    if received:
        raise Terminated if signal.SIGTERM in received else KeyboardInterrupt
    if process.returncode:
        raise UserError(f"`{' '.join((program, *arguments))}` failed; its error messages are above")


def _environment() -> dict[str, str]:
    """Put this Python first on PATH: stages start as `python -m stages.NAME`."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def _explain(error: str, command: str) -> str:
    if "Git repositories" in error or "not a git repository" in error:
        return "this folder is in no Git repository; `git init` and commit, as revisions are compared"
    if "unknown Git revision" in error:
        return f"{error}; `git log --oneline --all` and `dvc exp list --all-commits` list the revisions"
    return f"`{command}` failed: {error}"
