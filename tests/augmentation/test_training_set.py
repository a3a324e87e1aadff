"""Samples by seed, epoch and image; batches of an epoch; targets for effdet; photographs with their polygons."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from effdet import DetBenchTrain
from PIL import Image
from projects import spec_of
from torch.utils.data import DataLoader

from viadet.augmentation import scenes
from viadet.augmentation.objects import IGNORED, Sample
from viadet.augmentation.scenes import Scenes
from viadet.augmentation.training_set import TrainingSet, collate, epoch_batches
from viadet.network.build import build_network
from viadet.project.errors import UserError
from viadet.project.params import read_recipe

GREY = (128, 128, 128)
AUGMENT = {"scale": [0.6, 1.5], "flip": 0.5, "colour": 0.5, "copy_paste": 3, "mosaic": 0.5, "plain_epochs": 1}
TRAIN = (Path("data/coco/train.json"), Path("data/raw"))


def training_set(seed=0):
    params = read_recipe().train
    params = params.model_copy(update={"seed": seed, "epochs": 3, "augment": params.augment.model_copy(update=AUGMENT)})
    return TrainingSet(*TRAIN, params, (128, 96), GREY)


def test_a_sample_depends_on_seed_epoch_and_image_only_not_on_worker_or_order(sample):
    images = training_set()
    keys = [(epoch, index) for epoch in range(2) for index in range(len(images))]
    alone = {key: images[key] for key in keys}
    torch.manual_seed(99)
    loader = DataLoader(images, batch_sampler=[[key] for key in keys[::-1]], num_workers=2, collate_fn=lambda x: x[0])
    for key, served in zip(keys[::-1], loader, strict=True):
        assert torch.equal(served.image, alone[key].image)
        assert torch.equal(served.boxes_xyxy, alone[key].boxes_xyxy)


def test_seed_and_epoch_change_the_sample(sample):
    first = training_set()[0, 0].image
    assert not torch.equal(first, training_set()[1, 0].image)
    assert not torch.equal(first, training_set(seed=1)[0, 0].image)


def test_making_a_sample_does_not_change_the_callers_random_numbers(sample):
    images = training_set()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    images[0, 0]
    assert torch.equal(torch.rand(3), expected)


def test_making_a_sample_does_not_seed_cuda(sample, monkeypatch):
    images, seeds = training_set(), []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    images[0, 0]
    assert seeds == []


def test_the_first_epochs_have_small_inputs_with_the_same_content(sample):
    params = read_recipe().train
    images = {
        small: TrainingSet(*TRAIN, params.model_copy(update={"epochs": 3, "small_share": small / 3}), (384, 192), GREY)
        for small in (0, 1)
    }
    assert [images[1].input_wh_in(epoch) for epoch in (0, 1)] == [(256, 128), (384, 192)]
    small, large = (images[small][0, 0] for small in (1, 0))
    assert (small.image.shape, large.image.shape) == ((3, 128, 256), (3, 192, 384))
    assert len(large.labels) and torch.equal(small.labels, large.labels)
    torch.testing.assert_close(small.boxes_xyxy * 1.5, large.boxes_xyxy, atol=2, rtol=0)  # places are whole px
    enlarged = torch.nn.functional.interpolate(small.image[None].float(), size=(192, 384), mode="bilinear")[0]
    assert (enlarged - large.image).abs().mean() < 3  # of 255: but for fine detail
    assert torch.equal(images[1][1, 0].image, images[0][1, 0].image)


def test_the_last_epochs_have_neither_pasted_objects_nor_mosaics(sample):
    images = training_set()
    boxes = [len(scene.polygons) for scene in images.scenes]
    strong = [len(images[epoch, index].labels) for epoch in range(2) for index in range(len(images))]
    plain = [len(images[2, index].labels) for index in range(len(images))]
    assert sum(strong) / 2 > sum(boxes)
    assert all(count <= most for count, most in zip(plain, boxes, strict=True))


def test_an_epoch_consists_of_full_batches_and_full_steps():
    assert len(epoch_batches(images=21, batch_size=4, accumulate=2, epoch=0, seed=0)) == 4
    assert len(epoch_batches(images=21, batch_size=4, accumulate=5, epoch=0, seed=0)) == 5
    assert len(epoch_batches(images=21, batch_size=4, accumulate=8, epoch=0, seed=0)) == 5  # one smaller step
    assert len(epoch_batches(images=3, batch_size=8, accumulate=2, epoch=0, seed=0)) == 1


def test_an_epoch_contains_each_image_at_most_once_in_a_new_order():
    batches = epoch_batches(images=10, batch_size=4, accumulate=1, epoch=3, seed=0)
    chosen = [index for batch in batches for epoch, index in batch]
    assert [len(batch) for batch in batches] == [4, 4]
    assert len(set(chosen)) == 8
    assert batches != epoch_batches(10, 4, 1, epoch=4, seed=0)
    assert [len(batch) for batch in epoch_batches(3, 8, 1, 0, 0)] == [3]


def test_targets_are_yxyx_boxes_padded_with_minus_1():
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    one = Sample(image, torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([1]))
    none = Sample(image, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    images, targets = collate([one, none])
    assert images.shape == (2, 3, 8, 8)
    assert targets["bbox"].tolist() == [[[2, 1, 4, 3]], [[-1, -1, -1, -1]]]
    assert targets["cls"].tolist() == [[1], [-1]]


def write_rectangles(side, boxes_xywh):
    """Write a training set of one black image, `side` px wide and high, with these boxes."""
    annotations = [
        {"id": id_, "image_id": 1, "category_id": 1, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
        | {"segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]}
        for id_, (x, y, w, h) in enumerate(boxes_xywh, start=1)
    ]
    images = [{"id": 1, "file_name": "train/a.png", "width": side, "height": side}]
    for folder in (TRAIN[0].parent, TRAIN[1] / "train"):
        folder.mkdir(parents=True)
    Image.new("RGB", (side, side)).save(TRAIN[1] / "train/a.png")
    categories = [{"id": 1, "name": "balloon"}]
    TRAIN[0].write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories}), encoding="utf-8"
    )


def test_all_of_600_objects_are_targets_and_have_anchors(project):
    # overlapping, each around the centre of a smallest anchor
    corners = [(16.0 * column - 2, 16.0 * row - 2) for row in range(1, 21) for column in range(1, 31)]
    write_rectangles(512, [(x, y, 28, 28) for x, y in corners])
    params = read_recipe().train
    plain = {"scale": [1.0, 1.0], "flip": 0.0, "colour": 0.0, "copy_paste": 0, "mosaic": 0.0}
    params = params.model_copy(update={"augment": params.augment.model_copy(update=plain)})
    _, targets = collate([TrainingSet(*TRAIN, params, (512, 512), GREY)[0, 0]])
    assert targets["bbox"].shape == (1, 600, 4)
    labeler = DetBenchTrain(build_network(spec_of(512))).anchor_labeler
    _, _, anchors_with_objects = labeler.batch_label_anchors(targets["bbox"], targets["cls"])
    assert int(anchors_with_objects) >= 600


def test_of_400_thin_objects_a_sample_learns_or_ignores_every_one_that_it_shows(project):
    corners = [(38 * column + 10, 38 * row + 10) for row in range(20) for column in range(20)]
    write_rectangles(768, [(x, y, 4, 10) for x, y in corners])
    params = read_recipe().train
    plain = {"scale": [0.5, 0.5], "flip": 0.0, "colour": 0.0, "copy_paste": 0, "mosaic": 0.0}
    params = params.model_copy(update={"augment": params.augment.model_copy(update=plain)})
    sample = TrainingSet(*TRAIN, params, (768, 768), GREY)[params.epochs - 1, 0]
    assert sample.labels.tolist() == [IGNORED] * 400  # 2 x 5 px each
    _, targets = collate([sample])
    assert targets["cls"].tolist() == [[IGNORED] * 400]


def test_what_does_not_fit_onto_the_disk_is_refused_before_anything_is_written(sample, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**10))
    with pytest.raises(UserError, match=r"the \d+ training images take .* where 0.0 GiB are free"):
        training_set()
    assert list(Path("data").glob(".decoded_images*")) == []


def test_without_a_store_samples_are_the_same_and_only_the_photographs_in_them_are_decoded(sample, monkeypatch):
    stored = training_set()
    reads = []
    read_image = scenes.read_image
    monkeypatch.setattr(scenes, "read_image", lambda path, side: reads.append(path) or read_image(path, side))
    params = stored.params.model_copy(
        update={"augment": stored.params.augment.model_copy(update={"mosaic": 0.0, "copy_paste": 1})}
    )
    stored.params = params
    alone = TrainingSet(*TRAIN, params, (128, 96), GREY, owner=None)
    assert reads == []
    for index in range(3):
        assert torch.equal(alone[0, index].image, stored[0, index].image)
    assert 3 <= len(reads) <= 6


def test_scenes_are_reduced_with_their_polygons(sample):
    for full, half in zip(Scenes(*TRAIN, 128), Scenes(*TRAIN, 64), strict=True):
        assert max(half.image.shape[1:]) == 64
        for polygon, smaller in zip(full.polygons, half.polygons, strict=True):
            scale = torch.tensor([half.image.shape[2] / full.image.shape[2], half.image.shape[1] / full.image.shape[1]])
            torch.testing.assert_close(polygon * scale, smaller)


def test_a_training_split_without_images_is_an_error(project):
    TRAIN[0].parent.mkdir(parents=True)
    TRAIN[0].write_text(json.dumps({"images": [], "annotations": [], "categories": []}), encoding="utf-8")
    with pytest.raises(UserError, match="has no images"):
        training_set()
