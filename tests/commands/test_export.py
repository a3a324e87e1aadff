"""`viadet export`: what the file gives, against PyTorch; bad input."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from projects import REPOSITORY, shorten, spec_of

from viadet.commands.app import main
from viadet.detection.detections import Detections
from viadet.detection.detector import Detector
from viadet.detection.loading import load_detector
from viadet.detection.settings import DetectSettings, write_settings
from viadet.evaluation.coco_metrics import evaluate_coco
from viadet.images.pixels import read_image
from viadet.inference import export_check, onnx_export
from viadet.inference.export_check import check_export, check_file, find_checked_images, read_checked_images
from viadet.inference.onnx_export import open_onnx, write_onnx
from viadet.network.build import build_network
from viadet.network.weights import save_network
from viadet.project.errors import UserError
from viadet.project.files import write_json
from viadet.sample.render import render_image

CATEGORIES = ["balloon", "kite", "lamp"]
THRESHOLD = 0.35
EXAMPLE = REPOSITORY / "docs/examples/onnx_detect.py"
METADATA = {
    "categories": CATEGORIES,
    "input_wh": [160, 160],  # these three as in the evaluation
    "score_threshold": THRESHOLD,
    "max_detections": 150,
    "nms_iou": 0.5,
    "vote_iou": 0.8,
    "network": "tf_efficientdet_lite0",
}


def rendered(image_size, seed=0):
    """A rendered picture, uint8 [3, H, W]."""
    picture, _ = render_image(np.random.default_rng(seed), image_size)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def spread_detector(name="tf_efficientdet_lite0", categories=CATEGORIES, change=lambda network: None):
    """An untrained detector whose scores and boxes differ from anchor to anchor as a trained one's do."""
    torch.manual_seed(0)
    spec = spec_of(128, categories, name)
    network = build_network(spec).eval()
    change(network)
    canvas = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        for head, mean, deviation in ((network.class_net, -3.0, 1.5), (network.box_net, 0.0, 0.3)):
            features = torch.cat([level.flatten() for level in head(network.fpn(network.backbone(canvas)))])
            predict = getattr(head.predict, "conv_pw", None) or head.predict.conv  # separable or not
            predict.weight *= deviation / features.std()
            predict.bias.fill_(mean)
    return Detector(network, spec)


def detect_in(detector, image):
    """PyTorch's detections of at least the threshold in an image, uint8 [3, H, W]."""
    return detector(image.permute(1, 2, 0).numpy(), THRESHOLD)


def invoke(*arguments):
    return CliRunner().invoke(main, ["export", *map(str, arguments)], prog_name="viadet")


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """A model folder whose model was evaluated at another size, score and number of detections than by default."""
    folder, trained = tmp_path_factory.mktemp("model"), spread_detector().plain_network
    save_network(trained.network, trained.spec, folder)
    write_settings(folder, DetectSettings((160, 160), THRESHOLD, 150, None))
    return folder


@pytest.fixture(scope="module")
def detector(model_dir):
    return load_detector(model_dir, "cpu")


@pytest.fixture(scope="module")
def photographs(finished_sample):
    return sorted((finished_sample / "data/raw/val").glob("*.jpg"))


def values_of(path):
    """The metadata of an ONNX file."""
    return {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}


@pytest.fixture(scope="module")
def onnx_path(model_dir, photographs, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "detector.onnx"
    result = invoke("--model", model_dir, "--out", path, "--images", photographs[0].parent)
    assert result.exit_code == 0, result.output
    assert f"at 160 x 160 px, scores from {THRESHOLD}" in result.output
    assert f"detections in {len(photographs)} images, scores from 0.001, differ from PyTorch's by" in result.output
    assert [content.name for content in path.parent.iterdir()] == [path.name]
    return path


@pytest.mark.slow
@pytest.mark.xdist_group("export")
def test_the_onnx_file_says_what_it_is_and_takes_any_batch_and_size(onnx_path):
    model, values = onnx.load(onnx_path), values_of(onnx_path)
    assert values.pop("viadet_version")
    assert values == METADATA
    dims = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert dims == {
        "images": ["batch", "height", "width", 3],
        "boxes_xyxy": ["batch", "detections", 4],
        "scores": ["batch", "detections"],
        "labels": ["batch", "detections"],
    }
    assert {entry.domain for entry in model.opset_import} == {""}  # ONNX's own operators only


@pytest.mark.slow
@pytest.mark.xdist_group("export")
def test_the_file_detects_as_pytorch_in_batches_and_images_of_any_size(onnx_path, detector):
    detect = open_onnx(onnx_path)
    images = {str(shape): rendered(300)[:, : shape[0], : shape[1]] for shape in [(180, 250), (128, 128), (3, 290)]}
    images |= {"one pixel": rendered(100)[:, :1, :1], "grey": torch.full((3, 50, 60), 127, dtype=torch.uint8)}
    assert [len(detect_in(detector, images[name])) for name in ("one pixel", "grey")] == [150, 0]
    agreement = check_export(detect, detector, THRESHOLD, images.items())
    assert agreement.detections > 50

    batch = np.stack([rendered(120, seed)[:, :80, :80].permute(1, 2, 0).numpy() for seed in range(3)])
    rows = list(zip(*detect(batch), strict=True))
    for image, (boxes_xyxy, scores, labels) in zip(batch, rows, strict=True):
        (alone_xyxy,), (alone_scores,), (alone_labels,) = detect(image[None])
        count = len(alone_scores)
        np.testing.assert_allclose(boxes_xyxy[:count], alone_xyxy, atol=0.01)
        np.testing.assert_allclose(scores[:count], alone_scores, atol=1e-5)
        assert labels[:count].tolist() == alone_labels.tolist()
        assert not scores[count:].any()
    assert {label for _, _, labels in rows for label in labels} >= {1, 2, 3}


@pytest.mark.slow
@pytest.mark.xdist_group("export")
def test_the_file_has_the_ap_of_pytorch(onnx_path, detector, photographs):
    """Ground truth: PyTorch's detections of every second rank, so that AP depends on all boxes and their ranking."""
    names = [{"id": label, "name": name} for label, name in enumerate(CATEGORIES, 1)]
    coco = {"images": [], "annotations": [], "categories": names}
    detect, by_torch, by_onnx = open_onnx(onnx_path), {}, {}
    for image_id, path in enumerate(photographs, 1):
        image = read_image(path)
        coco["images"].append({"id": image_id, "width": image.shape[2], "height": image.shape[1]})
        by_torch[image_id] = detect_in(detector, image)
        ((boxes_xyxy,), (scores,), (labels,)) = detect(image.permute(1, 2, 0).contiguous().numpy()[None])
        by_onnx[image_id] = Detections(boxes_xyxy, scores, labels)
    rows = [row for image_id, detections in by_torch.items() for row in detections.coco_rows(image_id)]
    for number, row in enumerate(rows[::2], 1):
        area = row["bbox"][2] * row["bbox"][3]
        coco["annotations"].append({**row, "id": number, "area": area, "iscrowd": 0})
    ap_torch, ap_onnx = (evaluate_coco(coco, found).stats["bbox_mAP"] for found in (by_torch, by_onnx))
    assert 0.2 < ap_torch < 0.9
    assert ap_onnx == pytest.approx(ap_torch, abs=0.001)


@pytest.mark.slow
@pytest.mark.xdist_group("export")
def test_the_example_prints_the_detections_with_onnxruntime_numpy_and_pillow_alone(onnx_path, detector, photographs):
    source = EXAMPLE.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 20
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in imports if isinstance(node, ast.ImportFrom)}
    assert modules == {"json", "sys", "numpy", "onnxruntime", "PIL"}

    command = [sys.executable, EXAMPLE, onnx_path, *photographs]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    for path in photographs:
        expected = detect_in(detector, read_image(path))
        assert lines.pop(0) == f"{path}: {len(expected)} detections"
        shown = sorted(lines.pop(0).split(":")[0].strip() for _ in range(len(expected)))
        assert [line.split()[0] for line in shown] == sorted(expected.names)
    assert not lines


@pytest.mark.slow
def test_another_network_can_be_exported(tmp_path):
    """With other activations, and with squeeze-and-excitation; one class."""
    detector, path = spread_detector("tf_efficientdet_d0", ["balloon"], shorten), tmp_path / "detector.onnx"
    write_onnx(detector, 0.05, path)
    agreement = check_export(open_onnx(path), detector, 0.05, [("picture", rendered(200))])
    assert agreement.detections > 5


@pytest.mark.slow
@pytest.mark.xdist_group("export")
def test_a_file_that_differs_from_pytorch_is_not_kept(onnx_path, model_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(export_check, "SCORE_TOLERANCE", -1.0)  # not even equal scores will do
    # what it writes is there already, and takes half a minute
    monkeypatch.setattr(onnx_export, "write_onnx", lambda *arguments: shutil.copy(onnx_path, arguments[-1]))
    result = invoke("--model", model_dir, "--threshold", 0.4, "--size", 128)
    assert "at 128 x 128 px, scores from 0.4" in result.output
    assert result.exit_code == 1
    line = result.output.splitlines()[-1]
    assert line.startswith("export: the exported file differs from PyTorch in a rendered picture: PyTorch has a detec")
    assert line.endswith("; it was not kept, please report this")
    assert not list(tmp_path.iterdir())


def assert_refused(result, message):
    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == f"export: {message}"


def test_a_folder_without_a_model_is_named(tmp_path):
    result = invoke("--format", "onnx", "--model", tmp_path / "none", "--out", tmp_path / "detector.onnx")
    reason = "is not a model folder: model.json is missing; name the folder that training wrote"
    assert_refused(result, f"{tmp_path / 'none'} {reason}")
    assert not list(tmp_path.iterdir())


def test_a_file_of_several_models_is_refused(untrained_model, other_model):
    result = invoke("--model", untrained_model, "--model", other_model)
    assert_refused(result, "--model is given 2 times, but a file holds one model; name one")


def test_an_output_that_cannot_be_written_ends_before_the_work(untrained_model, tmp_path):
    (tmp_path / "file").touch()
    result = invoke("--model", untrained_model, "--out", tmp_path / "file/detector")
    assert result.exit_code == 1
    assert result.output.startswith(f"export: {tmp_path / 'file'}")
    assert len(result.output.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_images_that_are_missing_or_damaged_are_all_named_before_the_work(untrained_model, tmp_path):
    options = ("--format", "onnx", "--model", untrained_model, "--out", tmp_path / "detector.onnx")
    missing = tmp_path / "no.jpg"
    assert_refused(invoke(*options, "--images", missing), f"{missing}: no such file or folder; check the name")
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"not an image")
    result = invoke(*options, "--images", tmp_path)
    assert result.exit_code == 1
    assert result.output.startswith(f"export: 2 images for the check: {tmp_path / 'a.jpg'} can't be read as an image")
    assert f", {tmp_path / 'b.jpg'} can't be read as an image" in result.output
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "pt2"], "'pt2' is not 'onnx'"),
        (["--format", "onnx", "--threshold", "2"], "2.0 is not in the range 0.001<=x<=1"),
        (["--format", "onnx", "--out", "."], "File '.' is a directory"),
    ],
)
def test_bad_options_are_usage_errors(arguments, message):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_missing_packages_are_named_with_the_command_that_installs_them(monkeypatch, tmp_path):
    for name in ("onnxruntime", "onnxscript"):
        monkeypatch.setitem(sys.modules, name, None)
    result = invoke("--format", "onnx", "--model", tmp_path)
    command = "pip install onnxruntime onnxscript"
    assert_refused(result, f"--format onnx needs onnxruntime, onnxscript; run `{command}`")
    assert not list(tmp_path.iterdir())


def test_without_validation_images_a_picture_is_rendered_for_the_check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_checked_images(()) == []
    assert [name for name, _ in read_checked_images([])] == ["a rendered picture"]


def test_the_check_takes_validation_images_with_objects_wherever_they_lie(tmp_path, monkeypatch):
    """A data set that is split by `convert.split` has no folder of the validation images."""
    monkeypatch.chdir(tmp_path)
    images = [{"id": number, "file_name": f"camera/{number:02}.png"} for number in range(24)]
    annotations = [{"image_id": number} for number in range(0, 24, 2)]
    write_json(Path("data/coco/val.json"), {"images": images, "annotations": annotations})
    folder = Path("data/raw/camera")
    folder.mkdir(parents=True)
    for number in range(24):
        Image.new("RGB", (20, 10), (number, 0, 0)).save(folder / f"{number:02}.png")
    paths = find_checked_images(())
    assert paths == [folder / f"{number:02}.png" for number in (0, 6, 12, 18)]
    assert len(find_checked_images((str(folder),))) == 24
    assert [(name, image.shape) for name, image in read_checked_images(paths[:1])] == [(str(paths[0]), (3, 10, 20))]


def test_images_for_the_check_are_in_memory_one_at_a_time(tmp_path):
    Image.new("RGB", (20, 10)).save(tmp_path / "0.png")
    images = read_checked_images([tmp_path / "0.png", tmp_path / "no.png"])
    assert next(images)[1].shape == (3, 10, 20)
    with pytest.raises(UserError, match=r"no\.png is missing"):
        next(images)


def files_of(detector):
    """A function that opens a file for a least score; it agrees with PyTorch."""

    def open_with(threshold):
        def exported(images):
            found = detector(images[0], threshold)
            return found.boxes_xyxy[None], found.scores[None], found.labels[None]

        return exported

    return open_with


def test_a_check_compares_from_the_lowest_score_on_and_without_detections_it_is_none(detector, tmp_path):
    path = tmp_path / "picture.png"
    render_image(np.random.default_rng(0), 200)[0].save(path)
    assert len(detector(path, 0.999)) == 0
    assert check_file(files_of(detector), detector, 0.999, [path]).detections == 150

    silent = spread_detector()
    silent.plain_network.network.class_net.predict.conv_pw.bias.data.fill_(-30.0)
    with pytest.raises(UserError, match=r"^the check found nothing to compare; name images of your objects with --ima"):
        check_file(files_of(silent), silent, 0.999, [path])


def test_a_difference_below_the_threshold_is_found(detector, tmp_path):
    path = tmp_path / "picture.png"
    render_image(np.random.default_rng(0), 200)[0].save(path)
    other = spread_detector()
    other.plain_network.network.class_net.predict.conv_pw.bias.data.sub_(0.1)
    with pytest.raises(UserError, match=r"the exported file differs from PyTorch in .*picture"):
        check_file(files_of(other), detector, 0.999, [path])
