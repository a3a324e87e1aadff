"""Get the photographs with their VIA annotations, and the weights that training starts from.

Reads   fetch.source: the URL of a zip, a zip, a folder, or "rendered"; $BALLOON_MIRROR, a folder or URL that holds
        files of the same names, is tried first
Writes  data/raw/{train,val}/, data/init/
Run     dvc repro fetch
"""

from pathlib import Path

from viadet.project.errors import run_stage
from viadet.project.files import replaced_dir
from viadet.project.params import read_recipe
from viadet.sources.folders import SPLITS
from viadet.sources.photographs import fetch_photographs
from viadet.sources.weights import fetch_initial_weights

RAW_DIR = Path("data/raw")
INIT_DIR = Path("data/init")


def main() -> None:
    """Fetch weights, then photographs; an error leaves both folders as they were."""
    recipe = read_recipe()
    with replaced_dir(INIT_DIR) as init_folder, replaced_dir(RAW_DIR) as raw_folder:
        init = fetch_initial_weights(recipe.model.init, recipe.model.name, init_folder)
        fetch_photographs(recipe.fetch, raw_folder)
    counts = ", ".join(f"{split} {len(list((RAW_DIR / split).iterdir()))} files" for split in SPLITS)
    print(f"{RAW_DIR}: {counts}; initial weights: {init}")


if __name__ == "__main__":
    run_stage(main, __doc__)
