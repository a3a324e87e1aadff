"""A detector from a model folder alone: what it takes, what it returns, how it fails."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from projects import REPOSITORY, SMALL, evaluated_project, read

import viadet
from viadet.detection.detections import Detections
from viadet.detection.detector import Detector, detect_data_set, image_tensor
from viadet.detection.loading import wh_of_longer_side
from viadet.detection.settings import DetectSettings, write_settings
from viadet.detection.sized_network import SizedNetwork
from viadet.detection.views import InputView, merge_views
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
    for name in ("boxes_xyxy", "scores", "labels", "anchors", "levels"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.names == other.names


def test_the_detections_are_those_of_the_pipeline(untrained_model, finished_sample, tmp_path):
    params = SMALL | {"evaluate.bootstrap": 0, "evaluate.test_time": None}
    folder = evaluated_project(tmp_path, finished_sample, untrained_model, params)
    images = read(folder / "data/coco/val.json")["images"]
    detector = viadet.load(folder / "data/model", "cpu")
    all_detections = detector([folder / "data/raw" / image["file_name"] for image in images], threshold=0.0)
    rows = []
    for image, detections in zip(images, all_detections, strict=True):
        assert detections.labels.tolist() == [1] * len(detections)
        assert detections.names == ["balloon"] * len(detections)
        rows += detections.coco_rows(image["id"])
    assert len(rows) > 0
    assert rows == read(folder / "data/detections.json")


def test_paths_pillow_images_and_arrays_give_the_same_and_a_list_gives_a_list(detector, photograph, tmp_path):
    photograph.save(tmp_path / "a.png")
    expected = detector(tmp_path / "a.png")
    assert len(expected) > 0
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
    with pytest.raises(UserError, match=r"nosuch\.jpg is missing; check its name and place"):
        detector("nosuch.jpg")


def test_an_image_of_one_pixel_and_one_without_detections_give_empty_arrays(detector, untrained_model):
    views = viadet.load(untrained_model, "cpu", views=True)
    for detections in (detector(np.zeros((1, 1, 3), np.uint8)), views(np.zeros((1, 1, 3), np.uint8))):
        assert (detections.boxes_xyxy[:, 2:] > detections.boxes_xyxy[:, :2]).all()
    nothing = detector(np.zeros((90, 60, 3), np.uint8), threshold=1.0)
    assert (nothing.boxes_xyxy.shape, nothing.scores.shape, nothing.labels.shape) == ((0, 4), (0,), (0,))
    assert nothing.names == []


@pytest.mark.parametrize("merge", ["wbf", "nms"])
def test_views_are_those_of_networks_of_their_own_and_merged(untrained_model, photograph, merge):
    params = ViewsParams(scales=[1.0, 1.3333], flip=True, tiles=0, merge=merge)
    settings = DetectSettings((128, 128), 0.0, 100, params)
    detector = Detector(*load_network(untrained_model, CPU, (128, 128)), settings)
    assert detector.views == [InputView((side, side), mirrored) for side in (128, 160) for mirrored in (False, True)]
    found, image = [], image_tensor(photograph)
    for input_wh, mirrored, *_ in detector.views:
        sized = SizedNetwork(*load_network(untrained_model, CPU, input_wh))
        inputs = [sized.letterbox(image.flip(2) if mirrored else image)]
        found += sized.detect(inputs, mirrored=mirrored)
    expected, merged = merge_views(found, merge, 100), detector(photograph)
    assert len(merged) > 0
    assert merged.scores == pytest.approx(expected.scores, abs=1e-6)
    assert merged.boxes_xyxy == pytest.approx(expected.boxes_xyxy, abs=1e-3)
    assert merged.names == expected.names


def test_of_a_data_set_the_network_sees_each_distinct_view_of_an_image_once(untrained_model, finished_sample):
    coco, image_dir = read(finished_sample / "data/coco/val.json"), finished_sample / "data/raw"
    network, spec = load_network(untrained_model, CPU, (128, 128))
    views = ViewsParams(scales=[1.0], flip=True, tiles=0, merge="wbf")
    seen = []
    network.register_forward_pre_hook(lambda _module, inputs: seen.append(len(inputs[0])))
    detector = Detector(network, spec, DetectSettings((128, 128), 0.0, 100, views))
    plain, merged = detect_data_set(detector, coco, image_dir)
    assert sum(seen) == 2 * len(coco["images"])  # the plain view is one of both
    paths = [image_dir / image["file_name"] for image in coco["images"]]
    for image, alone in zip(coco["images"], Detector(network, spec)(paths, threshold=0.0), strict=True):
        assert_equal(plain[image["id"]], alone)
        assert merged[image["id"]].scores.tolist() != alone.scores.tolist()


def test_without_views_plain_and_merged_are_the_same(detector, finished_sample):
    plain, merged = detect_data_set(
        detector, read(finished_sample / "data/coco/val.json"), finished_sample / "data/raw"
    )
    assert list(plain) == list(merged) == [1, 2, 3]
    assert all(plain[image_id] is merged[image_id] for image_id in plain)


def test_the_size_of_the_input_can_be_chosen(untrained_model, photograph):
    larger = viadet.load(untrained_model, "cpu", size=256)
    assert [view.input_wh for view in larger.views] == [(256, 256)]
    assert len(larger(photograph).scores) > 0
    assert wh_of_longer_side((768, 512), 1152) == (1152, 768)
    with pytest.raises(UserError, match="the input's size is 100; use a multiple of 32 from 128 to 2048 px"):
        viadet.load(untrained_model, "cpu", size=100)


def test_a_model_detects_as_it_was_evaluated(model_copy):
    views = ViewsParams(scales=[0.5, 2.0], flip=False, tiles=0, merge="nms")
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
    class SupervisionDetections:
        """The fields and checks of supervision's class, which need not be installed."""

        def __init__(self, xyxy, confidence, class_id):
            assert xyxy.ndim == 2 and xyxy.shape[1] == 4
            assert confidence.shape == class_id.shape == (len(xyxy),)

    [line] = [line for line in Detections.__doc__.splitlines() if "sv.Detections(" in line]
    expression = line.split("`")[1].removeprefix("sv.")
    eval(expression, {"Detections": SupervisionDetections, "d": detector(photograph)})
