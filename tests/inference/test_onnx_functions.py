"""The parts of an exported file against the functions of the pipeline: letterbox, candidates, selection."""

import numpy as np
import onnxruntime
import pytest
import torch
from effdet.anchors import decode_box_outputs
from projects import spec_of

from viadet.detection.decoding import MAX_DETECTIONS, candidates_for, decode
from viadet.detection.sized_network import SizedNetwork
from viadet.images.letterbox import letterbox_image, letterbox_of
from viadet.inference.onnx_export import CandidateNetwork, letterbox_graph, selection_graph
from viadet.network.anchors import flat_outputs
from viadet.network.build import build_network

LEVELS = torch.zeros(1000, dtype=torch.int64)


def run(graph, **inputs):
    return onnxruntime.InferenceSession(graph.SerializeToString()).run(None, inputs)


def smooth_image(width, height, seed=0):
    """An image with slopes, edges and saturated parts, uint8 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(-60, 315, (1, 3, 1 + height // 9, 1 + width // 9)))
    fine = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    fine += torch.from_numpy(rng.normal(0, 8, fine.shape))
    return fine[0].permute(1, 2, 0).clamp(0, 255).byte().numpy()


@pytest.mark.parametrize(
    "image_wh", [(200, 130), (131, 200), (160, 128), (61, 47), (1, 1), (700, 3), (3, 700), (1000, 667)]
)
def test_the_letterbox_has_the_very_bytes_of_the_pipeline(image_wh):
    spec = spec_of([160, 128], name="tf_efficientdet_d0")  # its padding has three different values
    image = smooth_image(*image_wh)
    canvas, fitted_hw, image_hw = run(letterbox_graph(spec), images=image[None])
    expected = letterbox_image(torch.from_numpy(image).permute(2, 0, 1).contiguous(), spec.input_wh, spec.fill_rgb)
    assert (fitted_hw.tolist(), image_hw.tolist()) == (
        [expected.letterbox.height, expected.letterbox.width],
        [image_wh[1], image_wh[0]],
    )
    different = np.abs(canvas[0].astype(int) - expected.canvas.numpy())
    # reduced more than fourfold, sums exceed the 24 bits of float32 and are rounded
    assert different.max() <= (max(image_wh) > 4 * 128)
    assert np.count_nonzero(different) <= 3


def test_a_batch_is_letterboxed_like_its_images():
    graph = letterbox_graph(spec_of(128))
    images = np.stack([smooth_image(150, 90, seed) for seed in range(3)])
    canvas, _, _ = run(graph, images=images)
    assert all((canvas[place] == run(graph, images=images[place : place + 1])[0][0]).all() for place in range(3))


@pytest.mark.parametrize("num_classes", [1, 7, 90])
def test_detections_are_selected_as_the_pipeline_does(num_classes):
    """Crowded boxes, many of them overlapping, some outside of the photograph, in two images of a batch."""
    generator = torch.Generator().manual_seed(num_classes)
    letterbox = letterbox_of(400, 200, (128, 128))
    anchors_yxyx = torch.rand(1000, 4, generator=generator) * 110
    anchors_yxyx[:, 2:] = anchors_yxyx[:, :2] + 4 + torch.rand(1000, 2, generator=generator) * 40
    batch, expected = [], []
    for _ in range(2):
        logits = torch.randn(1000, num_classes, generator=generator) * 2 - 2
        detections = decode(logits, torch.zeros(1000, 4), anchors_yxyx, LEVELS, letterbox).above(0.3)
        expected.append(detections)
        best, places = logits.flatten().topk(min(candidates_for(MAX_DETECTIONS), logits.numel()))
        boxes_xyxy = anchors_yxyx[places // num_classes][:, [1, 0, 3, 2]]
        batch.append((boxes_xyxy, best.sigmoid(), places % num_classes + 1))
    candidates_xyxy, candidate_scores, candidate_labels = (torch.stack(v).numpy() for v in zip(*batch, strict=True))
    spec = spec_of(128, [f"class {number}" for number in range(num_classes)])
    boxes_xyxy, scores, labels = run(
        selection_graph(spec, 0.3, MAX_DETECTIONS),
        candidates_xyxy=candidates_xyxy,
        candidate_scores=candidate_scores,
        candidate_labels=candidate_labels,
        fitted_hw=np.array([letterbox.height, letterbox.width]),
        image_hw=np.array([200, 400]),
    )
    counts = [len(detections) for detections in expected]
    assert scores.shape == (2, max(counts))
    assert min(counts) > 20
    for place, (detections, count) in enumerate(zip(expected, counts, strict=True)):
        np.testing.assert_allclose(boxes_xyxy[place, :count], detections.boxes_xyxy, atol=1e-3)
        np.testing.assert_allclose(scores[place, :count], detections.scores, atol=1e-6)
        assert labels[place, :count].tolist() == detections.labels.tolist()
        assert (
            not scores[place, count:].any() and not labels[place, count:].any() and not boxes_xyxy[place, count:].any()
        )


def test_no_detections_are_empty_arrays():
    boxes_xyxy, scores, labels = run(
        selection_graph(spec_of(128), 0.5, MAX_DETECTIONS),
        candidates_xyxy=np.array([[[0, 0, 9, 9], [200, 0, 210, 9]]], np.float32),  # the second is beside the image
        candidate_scores=np.array([[0.499, 0.9]], np.float32),
        candidate_labels=np.array([[1, 1]]),
        fitted_hw=np.array([128, 128]),
        image_hw=np.array([300, 300]),
    )
    assert (boxes_xyxy.shape, scores.shape, labels.shape) == ((1, 0, 4), (1, 0), (1, 0))


def test_candidates_are_those_of_the_pipeline():
    spec = spec_of(128, ["a", "b"])
    torch.manual_seed(0)
    network = build_network(spec).eval()
    with torch.no_grad():
        network.class_net.predict.conv_pw.weight *= 100  # else all scores are nearly equal
    canvas = torch.from_numpy(np.stack([smooth_image(128, 128, seed) for seed in (1, 2)])).permute(0, 3, 1, 2)
    sized = SizedNetwork(network, spec)
    with torch.inference_mode():
        boxes_xyxy, scores, labels = CandidateNetwork(sized, 3000).eval()(canvas)
        logits, codes = flat_outputs(*network(sized.normalise(canvas)))
    assert scores.shape == (2, 3000)
    for place in range(2):
        best, order = logits[place].flatten().sort(descending=True, stable=True)
        anchors = order[:200] // 2
        expected_xyxy = decode_box_outputs(codes[place, anchors], sized.anchors_yxyx[anchors], output_xyxy=True)
        torch.testing.assert_close(scores[place, :200], best[:200].sigmoid())
        torch.testing.assert_close(boxes_xyxy[place, :200], expected_xyxy)
        assert labels[place, :200].tolist() == (order[:200] % 2 + 1).tolist()
