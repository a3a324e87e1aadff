import json
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from viadet.augmentation.objects import Sample
from viadet.augmentation.scenes import read_scenes
from viadet.augmentation.training_set import TrainingSet, collate, epoch_batches
from viadet.images.letterbox import letterbox_image, letterbox_of
from viadet.images.pixels import read_image
from viadet.project.errors import UserError
from viadet.project.params import read_recipe

GREY = (128, 128, 128)
AUGMENT = {"scale": [0.6, 1.5], "flip": 0.5, "colour": 0.5, "copy_paste": 3, "mosaic": 0.5, "plain_epochs": 1}
TRAIN = (Path("data/coco/train.json"), Path("data/raw"))


def training_set(seed=0):
    params = read_recipe().train
    params = params.model_copy(update={"seed": seed, "epochs": 3, "augment": params.augment.model_copy(update=AUGMENT)})
    return TrainingSet(*TRAIN, params, (128, 96), GREY)


def test_the_same_seed_epoch_and_image_give_the_same_sample_on_any_worker_in_any_order(sample):
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


def test_a_sample_leaves_the_callers_random_numbers_alone(sample):
    images = training_set()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    images[0, 0]
    assert torch.equal(torch.rand(3), expected)


def test_the_last_epochs_have_neither_pasted_objects_nor_mosaics(sample):
    images = training_set()
    boxes = [len(scene.polygons) for scene in images.scenes]
    strong = [len(images[epoch, index].labels) for epoch in range(2) for index in range(len(images))]
    plain = [len(images[2, index].labels) for index in range(len(images))]
    assert sum(strong) / 2 > sum(boxes)
    assert all(count <= most for count, most in zip(plain, boxes, strict=True))


def test_a_step_takes_full_batches_and_an_epoch_full_steps():
    assert len(epoch_batches(images=21, batch_size=4, accumulate=2, epoch=0, seed=0)) == 4
    assert len(epoch_batches(images=21, batch_size=4, accumulate=5, epoch=0, seed=0)) == 5
    assert len(epoch_batches(images=21, batch_size=4, accumulate=8, epoch=0, seed=0)) == 5  # one smaller step
    assert len(epoch_batches(images=3, batch_size=8, accumulate=2, epoch=0, seed=0)) == 1


def test_an_epoch_shows_each_image_at_most_once_in_full_batches():
    batches = epoch_batches(images=10, batch_size=4, accumulate=1, epoch=3, seed=0)
    shown = [index for batch in batches for epoch, index in batch]
    assert [len(batch) for batch in batches] == [4, 4]
    assert len(set(shown)) == 8
    assert batches != epoch_batches(10, 4, 1, epoch=4, seed=0)
    assert [len(batch) for batch in epoch_batches(3, 8, 1, 0, 0)] == [3]


def test_targets_are_yxyx_from_label_1_padded_with_minus_1():
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    one = Sample(image, torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([1]))
    none = Sample(image, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    images, targets = collate([one, none])
    assert images.shape == (2, 3, 8, 8)
    assert targets["bbox"].tolist() == [[[2, 1, 4, 3]], [[-1, -1, -1, -1]]]
    assert targets["cls"].tolist() == [[1], [-1]]


def test_scenes_are_reduced_with_their_polygons(sample):
    for full, half in zip(read_scenes(*TRAIN, 128), read_scenes(*TRAIN, 64), strict=True):
        assert max(half.image.shape[1:]) == 64
        for polygon, smaller in zip(full.polygons, half.polygons, strict=True):
            scale = torch.tensor([half.image.shape[2] / full.image.shape[2], half.image.shape[1] / full.image.shape[1]])
            torch.testing.assert_close(polygon * scale, smaller)


def test_a_training_split_without_images_is_an_error(project):
    TRAIN[0].parent.mkdir(parents=True)
    TRAIN[0].write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(UserError, match="has no images"):
        training_set()


@pytest.mark.parametrize("size_wh", [(200, 100), (100, 200), (1023, 681), (64, 64)])
def test_a_letterboxed_photograph_lies_upper_left_on_the_fill_colour(size_wh):
    width, height = size_wh
    image = torch.full((3, height, width), 255, dtype=torch.uint8)
    box = letterbox_of(width, height, (128, 128))
    canvas = letterbox_image(image, (128, 128), GREY)
    assert max(box.width, box.height) == 128
    assert (canvas[:, : box.height, : box.width] == 255).all()
    assert int((canvas == 128).all(0).sum()) == 128 * 128 - box.width * box.height
    assert box.scale_xy == (box.width / width, box.height / height)


def test_a_turned_photograph_is_read_upright(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.new("RGB", (40, 20))
    picture.paste((255, 0, 0), (0, 0, 20, 20))  # the left half
    picture.save(tmp_path / "turned.png", exif=exif)
    image = read_image(tmp_path / "turned.png")
    assert image.shape == (3, 40, 20)
    assert (image[0, :20] == 255).all()  # has become the upper half
    assert not image[0, 20:].any()


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_colour_modes_are_read_as_rgb(tmp_path, mode):
    from PIL import Image

    Image.new("RGB", (8, 6), (200, 200, 200)).convert(mode, palette=Image.Palette.ADAPTIVE).save(tmp_path / "image.tif")
    image = read_image(tmp_path / "image.tif")
    assert image.shape == (3, 6, 8)
    assert (image.float() - 200).abs().max() <= 3


def test_an_unreadable_image_is_named(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"broken\.jpg can't be read as an image"):
        read_image(tmp_path / "broken.jpg")
