import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from effdet import DetBenchPredict
from projects import spec_of
from safetensors.torch import save_file
from torchvision.ops import box_iou

from viadet.images.letterbox import letterbox_of
from viadet.network.boxes import anchors_of, decode, flat_outputs, to_coco_results
from viadet.network.build import build_network, prepare_images
from viadet.network.detect import detect_coco
from viadet.network.device import pick_device
from viadet.network.weights import load_network, load_start, save_network
from viadet.project.errors import UserError
from viadet.project.files import read_json, write_json

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def spec():
    return spec_of(256, ["balloon", "kite"])


@pytest.fixture(scope="module")
def network(spec):
    torch.manual_seed(0)
    return build_network(spec).eval()


def test_decoding_agrees_with_effdet(network, spec):
    torch.manual_seed(0)
    images = torch.randn(2, 3, 256, 256)
    with torch.inference_mode():
        expected = DetBenchPredict(network)(images)
        logits, codes = flat_outputs(*network(images))
    anchors = anchors_of(network, CPU)
    for row in range(2):
        ours = decode(logits[row], codes[row], *anchors, letterbox_of(256, 256, (256, 256)))
        theirs = expected[row][expected[row][:, 4] > 0]
        # effdet does not clip without sizes, so boxes that reach outside suppress each other differently: compare best
        inside = ((theirs[:, :2] >= 0) & (theirs[:, 2:4] <= 256)).all(1)
        found = 0
        for box_xyxy, score, label in zip(
            theirs[inside][:, :4], theirs[inside][:, 4], theirs[inside][:, 5], strict=True
        ):
            same = (ours.labels == int(label)) & ((ours.boxes_xyxy - box_xyxy).abs().amax(1) < 1e-3)
            found += bool((same & ((ours.scores - score).abs() < 1e-5)).any())
        assert inside.sum() >= 5
        assert found / int(inside.sum()) > 0.8


def test_a_detection_knows_its_anchor_and_level(network, spec):
    anchors_yxyx, levels = anchors_of(network, CPU)
    # 256 px: 32², 16², 8², 4², 2² cells with nine anchors each
    assert levels.bincount().tolist() == [9 * side**2 for side in (32, 16, 8, 4, 2)]
    logits, codes = torch.full((len(levels), 2), -9.0), torch.zeros(len(levels), 4)
    chosen = int((levels == 2).nonzero()[9 * (8 * 4 + 4)])  # the middle of P5
    logits[chosen, 1] = 3.0
    found = decode(logits, codes, anchors_yxyx, levels, letterbox_of(256, 256, (256, 256))).best(0.5)
    assert found.anchors.tolist() == [chosen]
    assert found.labels.tolist() == [2]
    assert found.levels.tolist() == [2]
    # with codes of zero the box is the anchor itself
    torch.testing.assert_close(found.boxes_xyxy[0], anchors_yxyx[chosen][[1, 0, 3, 2]].clamp(0, 256))


def test_overlapping_boxes_of_one_class_are_suppressed_and_of_two_are_not(network, spec):
    anchors_yxyx, levels = anchors_of(network, CPU)
    logits, codes = torch.full((len(levels), 2), -9.0), torch.zeros(len(levels), 4)
    middle = int((levels == 2).nonzero()[9 * (8 * 4 + 4)])
    overlap = box_iou(anchors_yxyx[middle][None], anchors_yxyx)[0]
    overlap[middle] = 0
    logits[middle, 0], logits[middle, 1], logits[overlap.argmax(), 0] = 3.0, 2.0, 1.0
    assert 0.5 < overlap.max() < 1
    found = decode(logits, codes, anchors_yxyx, levels, letterbox_of(256, 256, (256, 256))).best(0.5)
    assert found.labels.tolist() == [1, 2]


def test_boxes_stay_within_the_photograph_and_return_to_its_px(network, spec):
    anchors_yxyx, levels = anchors_of(network, CPU)
    letterbox = letterbox_of(400, 200, (256, 256))
    logits, codes = torch.full((len(levels), 2), -9.0), torch.zeros(len(levels), 4)
    logits[-9:, 0] = 3.0  # P7's last cell, far below the photograph of 256 x 128 px: its boxes reach into it
    found = decode(logits, codes, anchors_yxyx, levels, letterbox)
    assert len(found.scores)
    assert found.boxes_xyxy[:, 2].max() <= 256
    assert found.boxes_xyxy[:, 3].max() <= 128
    for result in to_coco_results(found, 7, letterbox):
        x, y, width, height = result["bbox"]
        assert 0 <= x <= x + width <= 400.01
        assert 0 <= y <= y + height <= 200.01
        assert result["image_id"] == 7


def test_saving_and_loading_gives_the_same_detections_and_the_same_bytes(network, spec, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save_network(network, spec, tmp_path / name)
    loaded, loaded_spec = load_network(tmp_path / "one", CPU, (256, 256))
    assert loaded_spec == spec
    images = torch.randn(1, 3, 256, 256)
    with torch.inference_mode():
        assert torch.equal(flat_outputs(*network(images))[0], flat_outputs(*loaded(images))[0])
    for file in ("model.safetensors", "model.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_weights_and_spec_that_do_not_belong_together_are_refused(network, spec, tmp_path):
    save_network(network, spec, tmp_path)
    write_json(tmp_path / "model.json", spec._replace(categories=["balloon"])._asdict())
    with pytest.raises(UserError, match="does not belong to"):
        load_network(tmp_path, CPU, (256, 256))


def test_an_unknown_network_is_named(spec):
    with pytest.raises(UserError, match=r"model\.name is 'yolo': effdet has no such network"):
        spec_of(256, name="yolo")


def test_cuda_without_a_gpu_is_an_error():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match=r"train\.device is cuda, but torch sees no CUDA GPU here"):
        pick_device("cuda")
    assert pick_device("auto") == CPU


def gradients(deterministic: bool, **environment: str) -> str:
    """The hash of a convolution's gradients, of a process of its own: torch settles its code at the first operation."""
    code = f"""if True:
        import hashlib, torch
        from stages.detection.network import pick_device
        pick_device("cpu", deterministic={deterministic})
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(32, 32, 3)
        layer(torch.randn(4, 32, 64, 64)).square().mean().backward()
        print(hashlib.sha256(layer.weight.grad.numpy().tobytes()).hexdigest())
    """
    bare = {
        name: value for name, value in os.environ.items() if name not in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")
    }
    done = subprocess.run([sys.executable, "-c", code], env=bare | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_cpu_with_avx512_computes_the_same_bytes_as_one_without():
    if not torch.cpu.get_capabilities().get("avx512_f"):
        pytest.skip("this CPU has no AVX-512")
    without = gradients(False, ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2")
    assert gradients(True) == without
    assert gradients(False) != without


def test_images_are_normalised_with_the_fill_colour_at_zero(spec):
    fill = torch.tensor(spec.fill_rgb, dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert prepare_images(fill, spec, CPU).abs().max() < 0.01
    white = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    torch.testing.assert_close(prepare_images(white, spec, CPU), torch.ones(1, 3, 4, 4))  # (255 - 127.5) / 127.5


def start_from(folder: Path, weights: dict, name: str = "start.safetensors") -> None:
    folder.mkdir(exist_ok=True)
    if name.endswith(".safetensors"):
        save_file({key: value.contiguous() for key, value in weights.items()}, folder / name)
    else:
        torch.save(weights, folder / name)
    write_json(folder / "start.json", {"init": "path", "file": name})


@pytest.mark.parametrize("name", ["start.safetensors", "start.pth"])
def test_a_detector_made_for_other_classes_starts_all_but_the_class_head(network, tmp_path, name):
    start_from(tmp_path, network.state_dict(), name)
    torch.manual_seed(1)
    other = build_network(spec_of(256))
    head = other.class_net.predict.conv_pw.weight.clone()
    load_start(other, tmp_path)
    assert torch.equal(other.backbone.conv_stem.weight, network.backbone.conv_stem.weight)
    assert torch.equal(other.box_net.predict.conv_pw.weight, network.box_net.predict.conv_pw.weight)
    assert torch.equal(other.class_net.predict.conv_pw.weight, head)


def test_timms_classifier_starts_the_backbone_only(network, spec, tmp_path):
    torch.manual_seed(2)
    classifier = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    start_from(tmp_path, classifier.state_dict())
    other = build_network(spec)
    fpn = {key: value.clone() for key, value in other.fpn.state_dict().items()}
    load_start(other, tmp_path)
    assert torch.equal(other.backbone.conv_stem.weight, classifier.conv_stem.weight)
    assert all(torch.equal(value, other.fpn.state_dict()[key]) for key, value in fpn.items())


def test_weights_of_another_network_are_refused(spec, tmp_path):
    start_from(tmp_path, build_network(spec_of(256, name="tf_efficientdet_lite1")).state_dict())
    with pytest.raises(UserError, match="does not fit this network"):
        load_start(build_network(spec), tmp_path)


class Harmful:
    def __reduce__(self):
        return Path.touch, (Path("harmed"),)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_pickle_that_would_run_code_is_refused(spec, project, suffix):
    Path("init").mkdir()
    Path("init/start").with_suffix(suffix).write_bytes(pickle.dumps({"weight": Harmful()}))
    write_json(Path("init/start.json"), {"init": "path", "file": f"start{suffix}"})
    with pytest.raises(UserError, match=f"start{suffix}"):
        load_start(build_network(spec), Path("init"))
    assert not Path("harmed").exists()


def test_detect_coco_numbers_results_by_image(model):
    network, spec = load_network(Path("data/model"), CPU, (128, 128))
    coco = read_json(Path("data/coco/val.json"))
    results = detect_coco(network, spec, coco, Path("data/raw"), CPU)
    assert {result["image_id"] for result in results} == {1, 2, 3}
    for result in results:
        image = coco["images"][result["image_id"] - 1]
        x, y, width, height = result["bbox"]
        assert np.all(np.array([x, y, width, height]) >= 0)
        assert x + width <= image["width"] + 0.02
        assert y + height <= image["height"] + 0.02
