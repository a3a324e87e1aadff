"""Several models that detect together: what is fused, what is shared, which models can't."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import viadet
from viadet.detection import detector as detector_module
from viadet.detection.detector import detect_data_set, detect_plain
from viadet.detection.settings import DetectSettings, write_settings
from viadet.detection.views import merge_views
from viadet.inference.onnx_export import write_onnx
from viadet.network.weights import SPEC_NAME, WEIGHTS_NAME
from viadet.project.errors import UserError
from viadet.project.files import read_json
from viadet.project.params import ViewsParams

FIELDS = ("boxes_xyxy", "scores", "labels", "anchors", "levels")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Files of noise, which is in no way symmetric."""
    folder = tmp_path_factory.mktemp("photographs")
    for number, size_wh in enumerate([(160, 120), (90, 140), (130, 130)]):
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(pixels).resize(size_wh).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def assert_equal(one, other):
    assert [getattr(one, name) is None for name in FIELDS] == [getattr(other, name) is None for name in FIELDS]
    for name in FIELDS:
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.names == other.names


@pytest.mark.parametrize("views", [False, True])
def test_a_list_of_one_folder_is_that_folder(untrained_model, photographs, views):
    alone, listed = (viadet.load(folder, "cpu", views=views) for folder in (untrained_model, [untrained_model]))
    for one, other in zip(alone(photographs, 0.0), listed(photographs, 0.0), strict=True):
        assert len(one) > 0
        assert_equal(one, other)
        assert (one.anchors is None) == views


@pytest.mark.parametrize("views", [False, True])
def test_the_detections_of_several_models_are_fused(untrained_model, other_model, photographs, views):
    models = [viadet.load(folder, "cpu", views=views) for folder in (untrained_model, other_model)]
    fused = viadet.load([untrained_model, other_model], "cpu", views=views)
    assert [view[:2] for view in fused.views] == [view[:2] for model in models for view in model.views]
    assert len(fused.views) == (8 if views else 2)
    found = [
        detections
        for model in models
        for image in model.detect_all(photographs[:1])
        for detections in image.by_view.values()
    ]
    expected = merge_views(found, "wbf", 100)
    assert expected.scores.max() > 0.4
    assert_equal(fused(photographs[0], threshold=0.0), expected)


def test_a_box_that_one_of_three_models_finds_is_worth_a_third(untrained_model, other_model, photographs, tmp_path):
    """The other two see nothing: their folders' networks are sure of that."""
    from safetensors.torch import load_file, save_file

    blind = []
    for name in ("one", "two"):
        blind.append(shutil.copytree(other_model, tmp_path / name))
        weights = load_file(blind[-1] / WEIGHTS_NAME)
        weights["class_net.predict.conv_pw.bias"].fill_(-30.0)
        save_file(weights, blind[-1] / WEIGHTS_NAME)
    alone = viadet.load(untrained_model, "cpu")(photographs[0], threshold=0.0)
    fused = viadet.load([untrained_model, *blind], "cpu")(photographs[0], threshold=0.0)
    assert alone.scores[0] > 0.4
    assert fused.scores[0] == pytest.approx(alone.scores[0] / 3, rel=1e-6)


def test_each_model_has_its_own_size_and_all_else_is_as_in_the_first_folder(
    untrained_model, other_model, photographs, tmp_path
):
    first, second = (shutil.copytree(model, tmp_path / model.name) for model in (untrained_model, other_model))
    views = ViewsParams(scales=[1.0, 1.5], flip=False, tiles=0, merge="nms")
    write_settings(first, DetectSettings((128, 128), 0.3, 20, views))
    write_settings(second, DetectSettings((192, 128), 0.0, 50, None))
    plain, merged = (viadet.load([first, second], "cpu", views=views) for views in (False, True))
    assert [view.input_wh for view in plain.views] == [(128, 128), (192, 128)]
    assert [view.input_wh for view in merged.views] == [(128, 128), (192, 192), (192, 128), (288, 192)]
    (image,) = merged.detect_all(photographs[:1])
    assert {len(found) for found in image.by_view.values()} == {20}
    expected = merge_views([image.by_view[view] for view in merged.views], "wbf", 20).above(0.3)
    assert_equal(merged(photographs[0]), expected)
    larger = viadet.load([first, second], "cpu", size=288)
    assert [view.input_wh for view in larger.views] == [(288, 288), (288, 192)]


def test_an_image_is_decoded_once_and_letterboxed_once_for_models_of_one_size(
    untrained_model, other_model, photographs, tmp_path, monkeypatch
):
    same, other = (shutil.copytree(model, tmp_path / model.name) for model in (untrained_model, other_model))
    write_settings(other, DetectSettings((128, 128), 0.4, 100, None))
    read, filled = [], []
    read_image, letterbox_image = detector_module.read_image, detector_module.letterbox_image
    monkeypatch.setattr(detector_module, "read_image", lambda path: read.append(path) or read_image(path))
    monkeypatch.setattr(
        detector_module, "letterbox_image", lambda *canvas: filled.append(canvas[1:]) or letterbox_image(*canvas)
    )
    fused, alone = (viadet.load(folders, "cpu") for folders in ([untrained_model, same, other], untrained_model))
    found = list(fused.detect_all(photographs))
    assert sorted(read) == photographs
    fills = {model.spec.fill_rgb for model in fused.models}
    assert len(fills) == 2  # so that the third needs a canvas of its own
    assert sorted(filled) == sorted([((128, 128), fill_rgb) for fill_rgb in fills] * len(photographs))
    for image, expected in zip(found, alone(photographs, threshold=0.0), strict=True):
        for view in fused.plain[:2]:
            assert_equal(image.by_view[view], expected)


def test_a_data_set_has_fused_detections_with_and_without_views(finished_sample, untrained_model, other_model):
    coco, image_dir = read_json(finished_sample / "data/coco/val.json"), finished_sample / "data/raw"
    alone, detector = (viadet.load([untrained_model, other_model], "cpu", views=views) for views in (False, True))
    paths = [image_dir / image["file_name"] for image in coco["images"]]
    plain, merged = detect_data_set(detector, coco, image_dir)
    fused, fused_views = (kind(paths, threshold=0.0) for kind in (alone, detector))
    for expected, found in ((fused, plain), (fused_views, merged), (fused, detect_plain(detector, coco, image_dir))):
        for one, other in zip(expected, found.values(), strict=True):
            assert one.anchors is None
            assert_equal(one, other)


def test_only_one_model_is_exported_or_explained(untrained_model, other_model, tmp_path):
    detector = viadet.load([untrained_model, other_model], "cpu")
    with pytest.raises(UserError, match=r"^only one model can be exported or explained, not 2; load one folder$"):
        write_onnx(detector, 0.4, tmp_path / "detector.onnx")


@pytest.fixture
def renamed(untrained_model, tmp_path):
    """Two model folders with categories of these names; their weights are not read."""

    def make(*categories):
        folders = [shutil.copytree(untrained_model, tmp_path / f"model_{number}") for number in range(len(categories))]
        for folder, names in zip(folders, categories, strict=True):
            spec = read_json(folder / SPEC_NAME) | {"categories": names}
            (folder / SPEC_NAME).write_text(json.dumps(spec), encoding="utf-8")
        return folders

    return make


@pytest.mark.parametrize(
    ("categories", "reason"),
    [
        ((["cat", "dog"], ["cat", "cow", "elk"]), "only {} has dog, only {} has cow, elk"),
        ((["cat", "dog"], ["cat"]), "only {} has dog"),
        ((["ant", "cat", "dog"], ["ant", "dog", "cat"]), "both have cat, dog, but in another order"),
    ],
)
def test_models_of_other_categories_are_refused(renamed, categories, reason):
    first, second = renamed(*categories)
    with pytest.raises(UserError) as error:
        viadet.load([first, second], "cpu")
    assert str(error.value) == (
        f"{first} and {second} can't detect together: {reason.format(first, second)}; "
        "name models that were trained with the same convert.categories"
    )


def test_a_folder_that_is_there_twice_or_missing_and_an_empty_list_are_refused(
    untrained_model, other_model, tmp_path, monkeypatch
):
    monkeypatch.chdir(untrained_model)
    with pytest.raises(UserError, match=r"^the model folder \. is given twice; name each one once$"):
        viadet.load([untrained_model, other_model, "."], "cpu")
    with pytest.raises(UserError, match=r"none is not a model folder: model\.json is missing; "):
        viadet.load([untrained_model, tmp_path / "none"], "cpu")
    with pytest.raises(UserError, match=r"^there is no model folder in the list; name the one that training wrote$"):
        viadet.load([], "cpu")
