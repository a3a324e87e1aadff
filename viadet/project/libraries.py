"""The libraries that results depend on, and their installed versions."""

from importlib.metadata import version
from pathlib import Path

from viadet.project.files import write_json

LIBRARIES = {
    "annotations": ("pillow", "shapely"),
    "network": ("effdet", "numpy", "pillow", "pycocotools", "timm", "torch", "torchvision"),
    "pictures": ("grad-cam", "matplotlib", "scipy"),
}


def installed_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Look up installed versions, without the part after `+`: the same release for CUDA or CPU counts as the same."""
    return {name: version(name).partition("+")[0] for name in names}


def write_versions(folder: Path) -> None:
    """Write a file of versions for each kind of work, so that DVC repeats only what a new version can change."""
    for name, libraries in LIBRARIES.items():
        write_json(folder / f"{name}.json", installed_versions(libraries))
