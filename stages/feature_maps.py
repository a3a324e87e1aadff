"""Draw the feature maps of any layers of the network over the validation images.

The colours of a layer span the same values in all pictures, so that images can be compared.

Reads   data/model/, data/coco/val.json, data/raw/, data/detections.json
Writes  plots/feature_maps/: a picture an image, the photograph beside its maps
Run     dvc repro feature_maps
"""

from pathlib import Path

from tqdm import tqdm

from viadet.annotations.coco import category_names
from viadet.detection.detections import Detections, read_detections
from viadet.detection.sized_network import SizedNetwork
from viadet.explanation.feature_maps import map_image, value_ranges
from viadet.network.device import keep_freed_memory, train_device
from viadet.network.weights import load_network
from viadet.pictures.drawing import picture_names, save_figure
from viadet.pictures.feature_maps import draw_feature_maps
from viadet.project.counting import counted
from viadet.project.errors import run_stage
from viadet.project.files import read_json, replaced_dir
from viadet.project.params import read_recipe

MODEL_DIR = Path("data/model")
COCO_PATH = Path("data/coco/val.json")
IMAGE_DIR = Path("data/raw")
DETECTIONS_PATH = Path("data/detections.json")
PICTURES_DIR = Path("plots/feature_maps")


def main() -> None:
    """Draw the first validation images."""
    keep_freed_memory()
    recipe = read_recipe()
    params = recipe.feature_maps
    device = train_device(recipe.train)
    sized = SizedNetwork(*load_network(MODEL_DIR, device, recipe.model.test_wh))
    coco = read_json(COCO_PATH)
    entries, names, file_names = coco["images"], category_names(coco), picture_names(coco)
    detections = read_detections(DETECTIONS_PATH)

    images = [
        map_image(sized, IMAGE_DIR / entry["file_name"], detections.get(entry["id"], Detections.none()), params)
        for entry in tqdm(entries[: params.max_images], desc="feature maps", unit="img")
    ]
    ranges = value_ranges(images)
    with replaced_dir(PICTURES_DIR) as folder:
        for entry, image in zip(tqdm(entries[: len(images)], desc="pictures", unit="img"), images, strict=True):
            save_figure(draw_feature_maps(image, ranges, params, names), folder / file_names[entry["id"]])
    print(f"{len(images)} of {counted(len(entries), 'validation image')} drawn")


if __name__ == "__main__":
    run_stage(main, __doc__)
