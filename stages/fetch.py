"""Get all that a run starts from: images with VIA annotations, initial weights, the versions of installed libraries.

Reads   fetch.source: the URL of a zip, a zip, a folder, or "rendered"; $BALLOON_MIRROR, a folder or URL that holds
        files of the same names, is tried first
Writes  data/raw/ (the folders as in the source), data/init/, data/libraries/ (a file for each kind of work)
Run     dvc repro fetch
"""

from pathlib import Path

from viadet.project.counting import counted
from viadet.project.errors import run_stage
from viadet.project.files import replaced_dir
from viadet.project.libraries import write_versions
from viadet.project.params import Recipe, read_recipe, read_recipe_name
from viadet.sources.photographs import fetch_photographs
from viadet.sources.weights import check_start, fetch_initial_weights
from viadet.via.data_files import describe_unread, is_unread_file

RAW_DIR = Path("data/raw")
INIT_DIR = Path("data/init")
LIBRARIES_DIR = Path("data/libraries")
OWN_DIR = Path("data/own")


def describe_sources(name: str, recipe: Recipe) -> list[str]:
    """Say which data the recipe uses, and warn where they may not be the ones that the user expects."""
    source, rendered = recipe.fetch.source, recipe.fetch.rendered
    pictures = rendered and f"{rendered.train_images + rendered.val_images} rendered pictures"
    lines = [f"recipe {name}: {pictures or source}"]
    if OWN_DIR.exists() and Path(source) != OWN_DIR:
        lines.append(f"warning: recipe {name} does not use {OWN_DIR}; for that, run `dvc exp run -S recipe=own`")
    for path in (source, recipe.fetch.manifest, recipe.model.init):
        if path and Path(path).expanduser().exists() and not Path(path).is_relative_to(Path("data", name)):
            lines.append(f"warning: DVC does not notice changes in {path}; after any, run `dvc repro -f fetch`")
    return lines


def main() -> None:
    """Fetch weights, then photographs; an error leaves both folders as they were."""
    recipe = read_recipe()
    print("\n".join(describe_sources(read_recipe_name(), recipe)), flush=True)
    with replaced_dir(INIT_DIR) as init_folder, replaced_dir(RAW_DIR) as raw_folder:
        init = fetch_initial_weights(recipe.model.init, recipe.model.name, init_folder)
        check_start(recipe.model, init_folder)
        others = fetch_photographs(recipe.fetch, raw_folder)
    with replaced_dir(LIBRARIES_DIR) as folder:
        write_versions(folder)
    if unread := describe_unread(map(Path, others)):
        print(f"warning: {unread}")
    if others := [name for name in others if not is_unread_file(Path(name))]:
        print(f"left out {counted(len(others), 'file')} (no image, .json or .csv), such as {others[0]}")
    files = counted(sum(path.is_file() for path in RAW_DIR.rglob("*")), "file")
    print(f"{RAW_DIR}: {files}; initial weights: {init}")


if __name__ == "__main__":
    run_stage(main, __doc__)
