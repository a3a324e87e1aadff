"""Show what backbone and neck make of the validation images.

Reads   data/model/, data/coco/val.json, data/raw/val/
Writes  plots/feature_maps/: a picture an image, the backbone's strides 8, 16, 32 and the neck's P3 to P7
Run     dvc repro feature_maps
"""

from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import nn

from stages.detection.cli import run_stage
from stages.detection.drawing import new_figure, picture_path, save_figure, show_heat, show_image
from stages.detection.files import read_json, replaced_dir
from stages.detection.images import letterbox_image, letterbox_of, read_image
from stages.detection.maps import crop_map, strongest_channels
from stages.detection.network import LEVELS, NetworkSpec, load_network, pick_device, prepare_images
from stages.detection.params import FeatureMapsParams, read_recipe

MODEL_DIR = Path("data/model")
COCO_PATH = Path("data/coco/val.json")
IMAGE_DIR = Path("data/raw/val")
PICTURES_DIR = Path("plots/feature_maps")
COLUMNS = 5


class FeatureMap(NamedTuple):
    """One layer's activations over the photograph."""

    title: str
    channels: torch.Tensor  # float32 [C, H, W], H x W px as the photograph lies in the network's input


def feature_maps_of(
    network: nn.Module, spec: NetworkSpec, image: torch.Tensor, device: torch.device
) -> list[FeatureMap]:
    """Run backbone and neck on a photograph, uint8 [3, H, W]; the letterbox is cut away."""
    letterbox = letterbox_of(image.shape[2], image.shape[1], spec.image_size)
    batch = letterbox_image(image, spec.image_size, spec.fill_rgb)[None]
    with torch.inference_mode():
        backbone = network.backbone(prepare_images(batch, spec, device))
        # BiFPN appends P6 and P7 to the list it is given.
        neck = network.fpn(list(backbone))
    named = [("backbone", level) for level in backbone] + list(zip(LEVELS, neck, strict=True))
    return [
        FeatureMap(
            f"{name}, stride {spec.image_size // values.shape[-1]}",
            crop_map(values[0].cpu(), spec.image_size, letterbox),
        )
        for name, values in named
    ]


def reduce_channels(channels: torch.Tensor, reduction: str) -> torch.Tensor:
    """Reduce [C, H, W] to one map [H, W]: the mean, or the strongest channel (`max`)."""
    return channels.mean(0) if reduction == "mean" else channels[strongest_channels(channels, 1)[0]]


def draw_levels(image: torch.Tensor, maps: list[FeatureMap], reduction: str) -> Figure:
    """Draw the photograph and one map a layer."""
    cells = 1 + len(maps)
    figure, axes = new_figure(COLUMNS, -(-cells // COLUMNS), _cell(image, 3.6))
    show_image(axes[0], image, "photograph")
    # Backbone beside the photograph, neck in the row below.
    for ax, feature_map in zip([*axes[1:4], *axes[COLUMNS:]], maps, strict=True):
        values = reduce_channels(feature_map.channels, reduction)
        show_image(ax, image, feature_map.title)
        show_heat(ax, values.numpy(), (image.shape[2], image.shape[1]))
    return figure


def draw_channels(image: torch.Tensor, maps: list[FeatureMap], count: int) -> Figure:
    """Draw a row a layer: the photograph, then the layer's strongest channels."""
    figure, axes = new_figure(1 + count, len(maps), _cell(image, 2.4))
    for row, feature_map in zip(axes.reshape(len(maps), -1), maps, strict=True):
        show_image(row[0], image, feature_map.title)
        channels = strongest_channels(feature_map.channels, count)
        for ax, channel in zip(row[1:], channels.tolist(), strict=False):
            show_image(ax, image, f"channel {channel}")
            show_heat(ax, feature_map.channels[channel].numpy(), (image.shape[2], image.shape[1]))
    return figure


def draw(image: torch.Tensor, maps: list[FeatureMap], params: FeatureMapsParams) -> Figure:
    """Draw one image's picture as the params want it."""
    if params.reduction == "topk":
        return draw_channels(image, maps, params.topk)
    return draw_levels(image, maps, params.reduction)


def _cell(image: torch.Tensor, longer_inches: float) -> tuple[float, float]:
    _, height, width = image.shape
    return longer_inches * width / max(width, height), longer_inches * height / max(width, height)


def main() -> None:
    """Draw the first validation images."""
    recipe = read_recipe()
    params = recipe.feature_maps
    device = pick_device(recipe.train.device)
    network, spec = load_network(MODEL_DIR, device)
    images = read_json(COCO_PATH)["images"]
    with replaced_dir(PICTURES_DIR) as folder:
        for entry in images[: params.max_images]:
            image = read_image(IMAGE_DIR / entry["file_name"])
            maps = feature_maps_of(network, spec, image, device)
            save_figure(draw(image, maps, params), picture_path(folder, entry["file_name"]))
    print(f"{min(len(images), params.max_images)} of {len(images)} validation images drawn")


if __name__ == "__main__":
    run_stage(main, __doc__)
