"""Detecting objects in image files, plain and mirrored."""

import os
import weakref

import pytest
import torch
from viadet.network.detect import (
    batch_results,
    detect_coco,
    detect_images,
    detect_inputs,
    inputs_at_once,
    letterboxed,
    load_scaled,
    read_batches,
)

from viadet.network.weights import load_network
from viadet.project.files import read_json

CPU = torch.device("cpu")
pytestmark = pytest.mark.xdist_group("detect")  # its tests share the fixture below


@pytest.fixture(scope="module")
def detector(untrained_model):
    return load_network(untrained_model, CPU, (128, 128))


@pytest.fixture(scope="module")
def coco(finished_sample):
    return read_json(finished_sample / "data/coco/val.json")


@pytest.fixture(scope="module")
def results(detector, coco, finished_sample):
    return detect_coco(*detector, coco, finished_sample / "data/raw", CPU)


def test_every_image_has_detections_within_it(results, coco):
    sizes_wh = {image["id"]: (image["width"], image["height"]) for image in coco["images"]}
    assert {result["image_id"] for result in results} == set(sizes_wh) == {1, 2, 3}
    for result in results:
        x, y, width, height = result["bbox"]
        image_width, image_height = sizes_wh[result["image_id"]]
        assert min(x, y, width, height) >= 0
        assert x + width <= image_width + 0.02
        assert y + height <= image_height + 0.02


def test_an_image_has_at_most_max_detections_and_may_have_more_than_100(detector, coco, results, finished_sample):
    image_dir, first = finished_sample / "data/raw", coco | {"images": coco["images"][:1]}
    few, many = (list(detect_coco(*detector, first, image_dir, CPU, limit)) for limit in (10, 150))
    plain = [result for result in results if result["image_id"] == first["images"][0]["id"]]
    assert len(plain) == 100
    assert len(many) == 150
    assert few == plain[:10]
    assert many[:100] == pytest.approx(plain)


def test_the_network_gets_fewer_of_larger_inputs_at_once():
    """On a CPU, eight inputs of 1536 px at once took 7.4 GB and nearly twice the time of two at once."""
    sides, devices = (128, 512, 768, 1152, 1536, 4096), (CPU, torch.device("cuda"))
    on_cpu, on_gpu = ([inputs_at_once((side, side), device) for side in sides] for device in devices)
    assert on_cpu == [8, 8, 4, 2, 1, 1]
    assert on_gpu == [8, 8, 8, 3, 2, 1]


def test_images_keep_their_order_whatever_the_batch_size(detector, coco, finished_sample):
    paths = [finished_sample / "data/raw" / image["file_name"] for image in coco["images"]]
    together, in_twos = (list(detect_images(*detector, paths, CPU, batch_size=size)) for size in (8, 2))
    assert len(together) == len(in_twos) == 3
    for one, other in zip(together, in_twos, strict=True):
        torch.testing.assert_close(one.best(0, 20).scores, other.best(0, 20).scores)


@pytest.mark.parametrize(("count", "sizes"), [(13, [2, 3, 2, 3, 3]), (4, [2, 2]), (3, [3]), (1, [1]), (0, [])])
def test_a_single_image_is_not_left_over_when_images_are_put_into_batches(count, sizes, coco, finished_sample):
    path = finished_sample / "data/raw" / coco["images"][0]["file_name"]
    assert [len(batch) for batch in read_batches([path] * count, 3, lambda image: image.shape)] == sizes


def test_photographs_are_dropped_as_soon_as_they_are_prepared(coco, finished_sample):
    """Those of a batch would take most of the memory: 12 MB each of 2,000 px."""
    seen, alive = [], []

    def prepare(image):
        seen.append(weakref.ref(image))
        alive.append(sum(reference() is not None for reference in seen))
        return tuple(image.shape)

    cores = os.cpu_count()
    path = finished_sample / "data/raw" / coco["images"][0]["file_name"]
    batches = list(read_batches([path] * 4 * cores, 4 * cores, prepare))
    assert [len(batch) for batch in batches] == [4 * cores]
    assert 1 <= max(alive) <= cores


def test_a_mirrored_image_detected_mirrored_has_mirrored_boxes(untrained_model, coco, results, finished_sample):
    scaled, raw_dir = load_scaled(untrained_model, CPU, (128, 128)), finished_sample / "data/raw"
    paths = [raw_dir / image["file_name"] for image in coco["images"]]
    (inputs,) = read_batches(paths, 3, lambda image: letterboxed(image.flip(2), scaled.spec, mirrored=True))
    detections = detect_inputs(scaled, inputs, CPU, mirrored=True)
    mirrored_results = batch_results(detections, inputs, [image["id"] for image in coco["images"]])
    assert results
    for plain, mirrored in zip(results, mirrored_results, strict=True):
        x, y, width, height = plain["bbox"]
        image_width = coco["images"][plain["image_id"] - 1]["width"]
        assert mirrored["bbox"] == pytest.approx([image_width - x - width, y, width, height], abs=0.02)
        assert mirrored["score"] == pytest.approx(plain["score"], abs=1e-5)
