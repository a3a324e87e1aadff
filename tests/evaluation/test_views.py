"""Boxes through mirrored and scaled views and back."""

from pathlib import Path

import pytest
import torch
from projects import read

from viadet.evaluation.views import detect_views, fuse_views, view_sizes_wh
from viadet.images.letterbox import letterbox_of
from viadet.network.boxes import Detections, mirror_boxes_xyxy, to_coco_results
from viadet.network.detect import detect_coco
from viadet.network.weights import load_network
from viadet.project.params import ViewsParams

CPU = torch.device("cpu")


def test_mirroring_boxes_twice_is_the_identity():
    boxes_xyxy = torch.tensor([[3.0, 5.0, 20.0, 9.0], [0.0, 0.0, 64.0, 48.0]])
    mirrored = mirror_boxes_xyxy(boxes_xyxy, 64)
    assert mirrored.tolist() == [[44, 5, 61, 9], [0, 0, 64, 48]]
    assert torch.equal(mirror_boxes_xyxy(mirrored, 64), boxes_xyxy)


@pytest.mark.parametrize("size_wh", [(400, 200), (200, 400), (301, 299)])
@pytest.mark.parametrize("input_wh", [(128, 128), (256, 128), (96, 320)])
def test_boxes_come_back_from_a_view_of_any_size(size_wh, input_wh):
    letterbox = letterbox_of(*size_wh, input_wh)
    boxes_xyxy = torch.tensor([[10.0, 20.0, 110.0, 170.0], [0.0, 0.0, *size_wh]])
    seen = boxes_xyxy * torch.tensor(letterbox.scale_xy * 2)
    assert (seen[1] == torch.tensor([0, 0, letterbox.width, letterbox.height])).all()
    two = torch.zeros(2, dtype=torch.int64)
    found = to_coco_results(Detections(seen, torch.ones(2), two + 1, two, two), 1, letterbox)
    assert found[0]["bbox"] == pytest.approx([10, 20, 100, 150], abs=0.01)
    assert found[1]["bbox"] == pytest.approx([0, 0, *size_wh], abs=0.01)


def test_sizes_are_whole_steps():
    assert view_sizes_wh((512, 384), [1.0, 0.5, 1.3]) == [(512, 384), (256, 192), (672, 512)]


def test_a_mirrored_image_seen_mirrored_has_the_mirrored_boxes(model):
    from PIL import Image, ImageOps

    coco = read("data/coco/val.json")
    network, spec = load_network(Path("data/model"), CPU, (128, 128))
    before = detect_coco(network, spec, coco, Path("data/raw"), CPU)
    Path("mirrored/val").mkdir(parents=True)
    for image in coco["images"]:
        with Image.open(Path("data/raw") / image["file_name"]) as opened:
            # as PNG, as JPEG would change a mirrored image otherwise
            ImageOps.mirror(ImageOps.exif_transpose(opened)).save(Path("mirrored") / image["file_name"], format="PNG")
    after = detect_coco(network, spec, coco, Path("mirrored"), CPU, mirrored=True)
    assert before
    for one, other in zip(before, after, strict=True):
        width = coco["images"][one["image_id"] - 1]["width"]
        x, y, w, h = one["bbox"]
        assert other["bbox"] == pytest.approx([width - x - w, y, w, h], abs=0.02)
        assert other["score"] == pytest.approx(one["score"], abs=1e-5)


def test_one_plain_view_gives_the_plain_detections(model):
    coco = read("data/coco/val.json")
    network, spec = load_network(Path("data/model"), CPU, (128, 128))
    plain = detect_coco(network, spec, coco, Path("data/raw"), CPU)
    view = detect_views(
        Path("data/model"), coco, Path("data/raw"), ViewsParams(scales=[1.0], flip=False), (128, 128), CPU
    )
    # Boxes are rounded between the two NMS, so that one at the very threshold may be lost.
    assert len(plain) - 5 <= len(view) <= len(plain) > 100
    assert all(result in plain for result in view)


def test_the_best_of_overlapping_detections_of_a_category_and_image_is_kept():
    def found(image_id, category_id, x, score):
        return {"image_id": image_id, "category_id": category_id, "bbox": [x, 0, 10, 10], "score": score}

    coco = {"images": [{"id": 1}, {"id": 2}]}
    results = [found(1, 1, 0, 0.5), found(1, 1, 1, 0.9), found(1, 2, 1, 0.4), found(1, 1, 30, 0.3), found(2, 1, 0, 0.2)]
    assert fuse_views(coco, results) == [results[1], results[2], results[3], results[4]]
    assert fuse_views(coco, []) == []
