"""A detector from a model folder alone: what it takes, what it returns, how it fails."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from projects import REPOSITORY, read
from viadet.evaluation.augmented_detection import detect_views
from viadet.evaluation.detect_settings import DetectSettings, write_settings
from viadet.inference.detector import scaled_wh
from viadet.network.detect import detect_coco

import viadet
from viadet.network.weights import load_network
from viadet.project.errors import UserError
from viadet.project.params import ViewsParams

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def detector(untrained_model):
    return viadet.load(untrained_model, "cpu")


@pytest.fixture(scope="module")
def photograph():
    """A photograph with noise, which is in no way symmetric."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    return Image.fromarray(pixels).resize((160, 120))


def assert_equal(one, other):
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_detections_are_those_of_the_pipeline(detector, untrained_model, finished_sample):
    coco = read(finished_sample / "data/coco/val.json")
    image_dir = finished_sample / "data/raw"
    results = detect_coco(*load_network(untrained_model, CPU, (128, 128)), coco, image_dir, CPU)
    all_detections = detector([image_dir / image["file_name"] for image in coco["images"]], threshold=0.0)
    assert len(results) == sum(len(detections.scores) for detections in all_detections) > 0
    for image, detections in zip(coco["images"], all_detections, strict=True):
        expected = [result for result in results if result["image_id"] == image["id"]]
        left_top = np.array([result["bbox"][:2] for result in expected], np.float32)
        assert np.array_equal(detections.boxes_xyxy[:, :2], left_top)
        assert detections.scores.tolist() == pytest.approx([result["score"] for result in expected])
        assert detections.labels.tolist() == [1] * len(expected)
        assert detections.names == ["balloon"] * len(expected)


def test_paths_pillow_images_and_arrays_give_the_same_and_a_list_gives_a_list(detector, photograph, tmp_path):
    photograph.save(tmp_path / "a.png")
    expected = detector(tmp_path / "a.png")
    assert len(expected.scores) > 0
    assert (expected.boxes_xyxy.dtype, expected.scores.dtype, expected.labels.dtype) == (np.float32, np.float32, int)
    assert (expected.scores >= 0.4).all() and (np.diff(expected.scores) <= 0).all()
    assert (expected.boxes_xyxy >= 0).all() and (expected.boxes_xyxy <= [160, 120, 160, 120]).all()
    for given in (str(tmp_path / "a.png"), photograph, np.asarray(photograph)):
        assert_equal(detector(given), expected)
    others = detector([photograph] * 3)
    assert len(others) == 3
    assert detector([]) == []


def test_boxes_are_in_px_of_the_upright_image(detector, photograph, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    photograph.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    assert_equal(detector(tmp_path / "turned.png"), detector(photograph))
    with Image.open(tmp_path / "turned.png") as turned:
        assert_equal(detector(turned), detector(photograph))


def test_grey_arrays_are_taken_and_other_arrays_refused(detector):
    grey = np.full((50, 60), 120, np.uint8)
    assert_equal(detector(grey), detector(np.stack([grey] * 3, axis=2)))
    for wrong in (grey.astype(float), grey[None], grey[:0], np.zeros((4, 4, 4), np.uint8)):
        with pytest.raises(UserError, match=r"the array is .*; use uint8 \[height, width, 3\] in RGB"):
            detector(wrong)
    with pytest.raises(UserError, match="int is not an image; use a path, "):
        detector(3)
    with pytest.raises(UserError, match=r"nosuch\.jpg: no such file; check the name"):
        detector("nosuch.jpg")


def test_an_image_of_one_pixel_and_one_without_detections_give_empty_arrays(detector, untrained_model):
    views = viadet.load(untrained_model, "cpu", views=True)
    for detections in (detector(np.zeros((1, 1, 3), np.uint8)), views(np.zeros((1, 1, 3), np.uint8))):
        assert (detections.boxes_xyxy[:, 2:] > detections.boxes_xyxy[:, :2]).all()
    nothing = detector(np.zeros((90, 60, 3), np.uint8), threshold=1.0)
    assert (nothing.boxes_xyxy.shape, nothing.scores.shape, nothing.labels.shape) == ((0, 4), (0,), (0,))
    assert nothing.names == []


def test_views_are_merged_as_in_the_pipeline(untrained_model, finished_sample):
    coco = read(finished_sample / "data/coco/val.json")
    image_dir = finished_sample / "data/raw"
    params = ViewsParams(scales=[1.0, 1.3333], flip=True, merge="wbf", sides=None)
    expected = detect_views(untrained_model, coco, image_dir, params, (128, 128), CPU, 100)
    detector = viadet.load(untrained_model, "cpu", views=True)
    found = detector([image_dir / image["file_name"] for image in coco["images"]], threshold=0.0)
    scores = np.concatenate([detections.scores for detections in found])
    assert len(scores) > 0
    assert scores == pytest.approx([result["score"] for result in expected], abs=1e-4)  # batches of another size


def test_the_size_of_the_input_can_be_chosen(untrained_model, photograph):
    larger = viadet.load(untrained_model, "cpu", size=256)
    assert [view.input_wh for view in larger.views] == [(256, 256)]
    assert len(larger(photograph).scores) > 0
    assert scaled_wh((768, 512), None) == (768, 512)
    assert scaled_wh((768, 512), 1152) == (1152, 768)
    with pytest.raises(UserError, match="the input's size is 100; use a multiple of 32 from 128 to 2048 px"):
        viadet.load(untrained_model, "cpu", size=100)


def test_a_model_detects_as_it_was_evaluated(model_copy):
    views = ViewsParams(scales=[0.5, 2.0], flip=False, merge="nms", sides=[[64, 10_000], [0, 64]])
    write_settings(model_copy, DetectSettings((256, 256), 0.45, 20, views))
    detector = viadet.load(model_copy, "cpu")
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    assert [view.input_wh for view in detector.views] == [(256, 256)]
    assert 0 < len(detector(image).scores) <= 20
    assert detector(image).scores.min() >= 0.45
    merged = viadet.load(model_copy, "cpu", views=True)
    assert [(view.input_wh, view.mirrored) for view in merged.views] == [((128, 128), False), ((512, 512), False)]
    assert 0 < len(merged(image, threshold=0.0).scores) <= 20
    assert [view.input_wh for view in viadet.load(model_copy, "cpu", size=128).views] == [(128, 128)]
    (model_copy / "detect.json").write_text('{"test_wh": [256, 256]}', encoding="utf-8")
    with pytest.raises(UserError, match=r"detect\.json is of another version of viadet; evaluate again, or delete it"):
        viadet.load(model_copy, "cpu")


@pytest.fixture
def model_copy(untrained_model, tmp_path):
    return shutil.copytree(untrained_model, tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda spec: spec | {"aspects": [1.0]},
            "is of another version of viadet: it has ['anchor_scale', 'aspects', ",
        ),
        (lambda spec: {"name": spec["name"]}, "is of another version of viadet: it has ['name'], expected "),
        (lambda spec: [spec], "is of another version of viadet: "),
        (lambda spec: spec | {"categories": ["a", "b"]}, "model.safetensors does not belong to model.json"),
    ],
)
def test_a_model_folder_of_another_version_is_refused(model_copy, change, reason):
    path = model_copy / "model.json"
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")
    with pytest.raises(UserError) as error:
        viadet.load(model_copy)
    assert reason in str(error.value)
    assert str(model_copy) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_folder_without_a_model_is_refused(model_copy, name):
    (model_copy / name).unlink()
    with pytest.raises(UserError, match=f"model is not a model folder: {name} is missing; "):
        viadet.load(str(model_copy))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
def test_a_missing_gpu_is_told(untrained_model):
    with pytest.raises(UserError, match="device is cuda, but torch sees no CUDA GPU here; use auto or cpu"):
        viadet.load(untrained_model, "cuda")


def test_importing_viadet_loads_nothing_slow():
    program = "import sys, viadet; viadet.load; sys.exit(bool({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=False).returncode == 0


def test_the_docstring_tells_how_supervision_takes_the_detections(detector, photograph):
    class Detections:
        """The fields and checks of supervision's class, which need not be installed."""

        def __init__(self, xyxy, confidence, class_id):
            assert xyxy.ndim == 2 and xyxy.shape[1] == 4
            assert confidence.shape == class_id.shape == (len(xyxy),)

    import viadet.inference.detector as module

    [line] = [line for line in module.__doc__.splitlines() if "sv.Detections(" in line]
    expression = line.split("`")[1].removeprefix("sv.")
    eval(expression, {"Detections": Detections, "d": detector(photograph)})
