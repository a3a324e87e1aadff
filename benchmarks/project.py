"""The project that benchmarks run: its folder, stages, params with a few changed, and the CPU time that it takes."""

from pathlib import Path
from typing import Any

import yaml

import viadet
from viadet.project.params import Recipe, load_yaml

ROOT = Path(__file__).resolve().parents[1]
PARAMS_PATH = Path(viadet.__file__).parents[1] / "params.yaml"  # of another revision, if viadet is that one's
STAGES = ("fetch", "convert", "visualise", "train", "evaluate", "feature_maps", "grad_cam")


def changed_params(recipe: str, changes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Read params.yaml, and change some params of a recipe, by section."""
    params = load_yaml(PARAMS_PATH.read_text(encoding="utf-8")) | {"recipe": recipe}
    for section, values in changes.items():
        params[recipe][section].update(values)
    return params


def changed_recipe(recipe: str, changes: dict[str, dict[str, Any]]) -> Recipe:
    """Read a recipe, with some params changed, by section."""
    return Recipe.model_validate(changed_params(recipe, changes)[recipe])


def seeded_recipe(recipe: str, changes: dict[str, dict[str, Any]], seed: int, **train: Any) -> Recipe:
    """Read a recipe with some params changed, for a training validated once, at its end.

    Args:
        recipe: its name.
        changes: by section.
        seed: of the training.
        train: further changes of the section `train`; here or there are its epochs.
    """
    train = changes["train"] | train | {"seed": seed}
    return changed_recipe(recipe, changes | {"train": train | {"validate_every": train["epochs"]}})


def write_params(folder: Path, recipe: str, changes: dict[str, dict[str, Any]]) -> None:
    """Write params.yaml into a folder: this project's, for a recipe with some params changed, by section."""
    params = changed_params(recipe, changes)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def cpu_of_children() -> float:
    """Seconds of CPU that the ended child processes took, theirs included; POSIX only."""
    import resource  # Windows has no such module

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime  # os.times() counts in hundredths: none at all for a bare Python
