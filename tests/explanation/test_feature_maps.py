"""Channels of layers, the values that their colours span, and the stage."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from projects import SMALL, write_params

from stages import feature_maps
from viadet.detection.detections import Detections
from viadet.explanation.feature_maps import (
    ImageMaps,
    LayerMaps,
    map_image,
    reduce_channels,
    strongest_channels,
    value_ranges,
)
from viadet.images.letterbox import InputImage, letterbox_of
from viadet.project.files import write_json


def test_channels_are_reduced_to_their_mean_the_strongest_or_the_strongest_ones(recipe):
    output = torch.stack([torch.full((2, 2), value) for value in (1.0, -3.0, 2.0)])
    letterbox = letterbox_of(128, 64, (128, 128))  # the upper half
    output[0, 1] = 100  # strong beside the photograph only
    assert strongest_channels(output[:, :1], 2).tolist() == [1, 2]

    def reduced(reduction):
        params = recipe.feature_maps.model_copy(update={"reduction": reduction, "topk": [1, 2]})
        return reduce_channels("P7", output, params, letterbox)

    assert reduced("max").channels == [1]
    assert reduced("topk").channels == [1, 2]
    assert torch.equal(reduced("topk").maps, output[[1, 2]])
    torch.testing.assert_close(reduced("mean").maps[0, 0], torch.tensor([0.0, 0.0]))


def test_colours_of_a_layer_span_the_same_values_in_all_images():
    input_image = InputImage(torch.zeros(3, 128, 128, dtype=torch.uint8), letterbox_of(128, 64, (128, 128)))
    first, second = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    first[0, 0, 0], second[0, 1, 1] = -2, 5
    second[0, 3, 3] = 99  # beside the photograph
    images = [
        ImageMaps(input_image, np.zeros((0, 4), np.float32), [], [[LayerMaps("P3", maps, [])]])
        for maps in (first, second)
    ]
    assert value_ranges(images) == {"P3": (-2, 5)}


def test_an_image_has_its_layers_by_name_and_detections_from_the_threshold_on(sized, recipe, tmp_path):
    Image.new("RGB", (256, 128)).save(tmp_path / "wide.jpg")  # half of this in the network's input
    params = recipe.feature_maps.model_copy(update={"layers": ["neck", "C5"], "score_threshold": 0.5})
    results = [{"bbox": [16, 32, 64, 32], "score": score, "category_id": 3} for score in (0.7, 0.5, 0.4)]
    image = map_image(sized, tmp_path / "wide.jpg", Detections.from_rows(results), params)
    assert image.input_image.photograph.shape == (3, 64, 128)
    titles = [[layer.title for layer in group] for group in image.layer_groups]
    assert titles == [["P3", "P4", "P5", "P6", "P7"], ["C5"]]
    assert image.boxes_xyxy.tolist() == [[8, 16, 40, 32]] * 2
    assert image.labels == [3, 3]


def test_the_stage_draws_each_image_up_to_max_images_with_its_detections(model, capsys):
    params = {"reduction": "topk", "topk": [1, 3], "layers": ["P4"], "max_images": 2}
    write_params(SMALL | {f"feature_maps.{key}": value for key, value in params.items()})

    def draw(results):
        write_json(Path("data/detections.json"), results)
        feature_maps.main()
        assert "2 of 3 validation images drawn" in capsys.readouterr().out
        return {path.name: path.read_bytes() for path in Path("plots/feature_maps").iterdir()}

    pictures = draw([])
    assert sorted(pictures) == ["val_0000.jpg", "val_0001.jpg"]
    assert draw([]) == pictures
    changed = draw([{"image_id": 2, "category_id": 1, "bbox": [16, 32, 64, 32], "score": 0.9}])
    assert [changed[name] == pictures[name] for name in sorted(pictures)] == [True, False]
