"""Experiments that DVC runs in a temporary folder (`--queue`, `--temp`), and the project they belong to."""

from pathlib import Path

EXPERIMENTS_DIR = (".dvc", "tmp", "exps")  # of the project; DVC makes the temporary folders in it


def project_root() -> Path:
    """Find the project that a stage works for, to share what no experiment should lose with its temporary folder.

    It is absolute for an experiment in such a folder, else the current folder, `.`.
    """
    for folder in Path.cwd().parents:
        if folder.parts[-3:] == EXPERIMENTS_DIR:
            return folder.parents[2]
    return Path()


def missing_in_experiment(path: Path) -> str:
    """Say why a temporary folder does not have a file of the project, for the end of an error message; else empty."""
    original = project_root() / path
    if path.exists() or not original.exists():
        return ""
    return f" in this experiment's temporary folder, as git does not track it; give its absolute path, {original}"
