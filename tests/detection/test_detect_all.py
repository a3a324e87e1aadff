"""Detecting in many images: batches, order, memory, limits."""

import os
import weakref

import pytest
import torch

from viadet.detection import detector as detector_module
from viadet.detection.detector import Detector, detect_plain, in_batches
from viadet.detection.settings import DetectSettings
from viadet.detection.sized_network import inputs_at_once
from viadet.network.weights import load_network
from viadet.project.errors import UserError
from viadet.project.files import read_json

CPU = torch.device("cpu")
WH = (128, 128)
pytestmark = pytest.mark.xdist_group("detect")  # its tests share the fixtures below


@pytest.fixture(scope="module")
def detector(untrained_model):
    return Detector(*load_network(untrained_model, CPU, WH))


@pytest.fixture(scope="module")
def coco(finished_sample):
    return read_json(finished_sample / "data/coco/val.json")


@pytest.fixture(scope="module")
def paths(coco, finished_sample):
    return [finished_sample / "data/raw" / image["file_name"] for image in coco["images"]]


@pytest.fixture(scope="module")
def plain(detector, coco, finished_sample):
    return detect_plain(detector, coco, finished_sample / "data/raw")


def test_every_image_has_detections_within_it(plain, coco):
    assert set(plain) == {1, 2, 3}
    for image in coco["images"]:
        boxes_xyxy = plain[image["id"]].boxes_xyxy
        assert len(boxes_xyxy)
        assert (boxes_xyxy >= 0).all()
        assert (boxes_xyxy <= [image["width"], image["height"]] * 2).all()
        assert (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all()


def test_an_image_has_at_most_max_detections_and_may_have_more_than_100(detector, plain, paths):
    few, many = (
        Detector(detector.plain_network.network, detector.plain_network.spec, DetectSettings(WH, 0.4, limit, None))
        for limit in (10, 150)
    )
    assert len(plain[1]) == 100
    assert few(paths[0], 0.0).rows() == plain[1].rows()[:10]
    many = many(paths[0], 0.0)
    assert len(many) == 150
    assert many.boxes_xyxy[:100] == pytest.approx(plain[1].boxes_xyxy, abs=1e-3)


def test_the_network_gets_fewer_of_larger_inputs_at_once():
    """On a CPU, eight inputs of 1536 px at once took 7.4 GB and nearly twice the time of two at once."""
    sides, devices = (128, 512, 768, 1152, 1536, 4096), (CPU, torch.device("cuda"))
    on_cpu, on_gpu = ([inputs_at_once((side, side), device) for side in sides] for device in devices)
    assert on_cpu == [8, 8, 4, 2, 1, 1]
    assert on_gpu == [8, 8, 8, 3, 2, 1]


def test_images_keep_their_order_whatever_the_batch_size(detector, plain, paths, monkeypatch):
    for size in (1, 2):
        monkeypatch.setattr(detector, "batch_size", size)
        for one, other in zip(detector(paths, 0.0), plain.values(), strict=True):
            assert one.best(20).scores == pytest.approx(other.best(20).scores, abs=1e-5)


@pytest.mark.parametrize(("count", "sizes"), [(13, [2, 3, 2, 3, 3]), (4, [2, 2]), (3, [3]), (1, [1]), (0, [])])
def test_a_single_image_is_not_left_over_when_images_are_put_into_batches(count, sizes):
    items = list(range(count))
    batches = [items[batch] for batch in in_batches(count, 3)]
    assert [len(batch) for batch in batches] == sizes
    assert [item for batch in batches for item in batch] == items


def test_photographs_are_dropped_as_soon_as_they_are_prepared(detector, paths, monkeypatch):
    """Those of a batch would take most of the memory: 12 MB each of 2,000 px."""
    seen, alive = [], []
    read = detector_module.read_image

    def watched(path):
        image = read(path)
        seen.append(weakref.ref(image))
        alive.append(sum(reference() is not None for reference in seen))
        return image

    monkeypatch.setattr(detector_module, "read_image", watched)
    count = 6 * os.cpu_count()
    assert len(list(detector.detect_all(paths[:1] * count))) == count == len(seen)
    assert 1 <= max(alive) <= os.cpu_count()


def test_a_missing_file_in_the_middle_is_an_error_that_names_it(detector, paths):
    found = detector.detect_all([paths[0], "nosuch.jpg", paths[1]])
    with pytest.raises(UserError, match=r"^nosuch\.jpg is missing; check its name and place$"):
        list(found)


def test_boxes_found_in_a_mirrored_image_are_those_of_the_unmirrored_one(detector, plain, coco, paths):
    network = detector.plain_network
    for image, path in zip(coco["images"], paths, strict=True):
        (found,) = network.detect([network.letterbox(detector_module.read_image(path))], mirrored=True)
        expected, width = plain[image["id"]], image["width"]
        assert found.scores == pytest.approx(expected.scores, abs=1e-5)
        assert found.boxes_xyxy[:, 0] == pytest.approx(width - expected.boxes_xyxy[:, 2], abs=1e-3)
        assert found.boxes_xyxy[:, [1, 3]] == pytest.approx(expected.boxes_xyxy[:, [1, 3]], abs=1e-3)
